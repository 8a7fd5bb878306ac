// Package authorization turns AuthorizationPolicies into Envoy's role-based access control filters.
package authorization

import (
	"fmt"
	"strconv"
	"strings"

	"ztlab.rig/istio/internal/envoy"
	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/names"
)

// identityPrefix is what a certificate's name has before the principal of a policy. It is put before every principal,
// also before one that is written with it: such a principal then matches nobody, exactly as in the real Istio.
const identityPrefix = "spiffe://"

// Filters are the HTTP filters that enforce the policies on one workload: what is denied first, then what is allowed.
// A workload that no ALLOW policy selects gets no such filter: everything that is not denied passes.
func Filters(policies []mesh.AuthorizationPolicy, workload mesh.Workload) envoy.List {
	denied, allowed := envoy.Object{}, envoy.Object{}
	denies, allows := false, false
	for _, policy := range policies {
		if !applies(policy, workload) {
			continue
		}
		rules := envoyPolicies(policy)
		if policy.Spec.Action == "DENY" {
			denies = denies || len(rules) > 0
			add(denied, rules)
		} else {
			// An ALLOW policy without rules still counts: it allows nothing, which denies everything.
			allows = true
			add(allowed, rules)
		}
	}
	filters := envoy.List{}
	if denies {
		filters = append(filters, filter("DENY", denied))
	}
	if allows {
		filters = append(filters, filter("ALLOW", allowed))
	}
	return filters
}

func applies(policy mesh.AuthorizationPolicy, workload mesh.Workload) bool {
	inScope := policy.Namespace == workload.Namespace || policy.Namespace == names.RootNamespace
	return inScope && policy.Spec.Selector.Picks(workload.Labels)
}

func add(all, more envoy.Object) {
	for name, policy := range more {
		all[name] = policy
	}
}

func filter(action string, policies envoy.Object) envoy.Object {
	return envoy.Extension("envoy.filters.http.rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", envoy.Object{
		"rules": envoy.Object{"action": action, "policies": policies},
	})
}

// envoyPolicies makes one of Envoy's policies from each rule, named as the real Istio names them.
func envoyPolicies(policy mesh.AuthorizationPolicy) envoy.Object {
	policies := envoy.Object{}
	for index, rule := range policy.Spec.Rules {
		name := fmt.Sprintf("ns[%s]-policy[%s]-rule[%d]", policy.Namespace, policy.Name, index)
		policies[name] = envoy.Object{"permissions": permissions(rule), "principals": principals(rule)}
	}
	return policies
}

func permissions(rule mesh.Rule) envoy.List {
	if len(rule.To) == 0 {
		return envoy.List{envoy.Object{"any": true}}
	}
	alternatives := envoy.List{}
	for _, to := range rule.To {
		operation := to.Operation
		all := envoy.List{}
		all = appendBoth(all, operation.Hosts, operation.NotHosts, "or_rules", "rules", "not_rule", host)
		all = appendBoth(all, operation.Methods, operation.NotMethods, "or_rules", "rules", "not_rule", method)
		all = appendBoth(all, operation.Paths, operation.NotPaths, "or_rules", "rules", "not_rule", path)
		all = appendBoth(all, operation.Ports, operation.NotPorts, "or_rules", "rules", "not_rule", port)
		alternatives = append(alternatives, conjunction("and_rules", "rules", all))
	}
	return alternatives
}

func principals(rule mesh.Rule) envoy.List {
	if len(rule.From) == 0 {
		return envoy.List{envoy.Object{"any": true}}
	}
	alternatives := envoy.List{}
	for _, from := range rule.From {
		source := from.Source
		all := envoy.List{}
		all = appendBoth(all, source.Principals, source.NotPrincipals, "or_ids", "ids", "not_id", principal)
		all = appendBoth(all, source.Namespaces, source.NotNamespaces, "or_ids", "ids", "not_id", namespace)
		alternatives = append(alternatives, conjunction("and_ids", "ids", all))
	}
	return alternatives
}

// appendBoth adds "one of the wanted values" and "none of the unwanted ones"; an empty list of values adds nothing.
func appendBoth(all envoy.List, wanted, unwanted []string, or, items, not string, match func(string) envoy.Object) envoy.List {
	disjunction := func(values []string) envoy.Object {
		matches := envoy.List{}
		for _, value := range values {
			matches = append(matches, match(value))
		}
		return envoy.Object{or: envoy.Object{items: matches}}
	}
	if len(wanted) > 0 {
		all = append(all, disjunction(wanted))
	}
	if len(unwanted) > 0 {
		all = append(all, envoy.Object{not: disjunction(unwanted)})
	}
	return all
}

func conjunction(and, items string, all envoy.List) envoy.Object {
	if len(all) == 0 {
		return envoy.Object{"any": true}
	}
	return envoy.Object{and: envoy.Object{items: all}}
}

func principal(value string) envoy.Object {
	return envoy.Object{"authenticated": envoy.Object{"principal_name": envoy.Match(value, identityPrefix)}}
}

func namespace(value string) envoy.Object {
	expression := ".*/ns/" + strings.ReplaceAll(value, "*", ".*") + "/.*"
	return envoy.Object{"authenticated": envoy.Object{"principal_name": envoy.Regex(expression)}}
}

func host(value string) envoy.Object {
	match := envoy.Match(value, "")
	if _, isRegex := match["safe_regex"]; !isRegex {
		match["ignore_case"] = true
	}
	return envoy.Object{"header": envoy.Object{"name": ":authority", "string_match": match}}
}

func method(value string) envoy.Object {
	return envoy.Object{"header": envoy.Object{"name": ":method", "string_match": envoy.Match(value, "")}}
}

func path(value string) envoy.Object {
	return envoy.Object{"url_path": envoy.Object{"path": envoy.Match(value, "")}}
}

func port(value string) envoy.Object {
	// Admission has seen to it that this is a number; 0, for one that slipped by, matches no connection.
	number, _ := strconv.Atoi(value)
	return envoy.Object{"destination_port": number}
}
