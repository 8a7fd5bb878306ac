package authorization

import (
	"encoding/json"
	"testing"

	"ztlab.rig/istio/internal/mesh"
)

var backend = mesh.Workload{Namespace: "webapp", Labels: map[string]string{"app": "backend"}}

func policy(t *testing.T, namespace, name, spec string) mesh.AuthorizationPolicy {
	t.Helper()
	result := mesh.AuthorizationPolicy{Object: mesh.Object{Namespace: namespace, Name: name}}
	if err := json.Unmarshal([]byte(spec), &result.Spec); err != nil {
		t.Fatal(err)
	}
	return result
}

// rules reduces the filters to what matters: [[action, policies], ...].
func rules(t *testing.T, policies ...mesh.AuthorizationPolicy) string {
	t.Helper()
	text, err := json.Marshal(Filters(policies, backend))
	if err != nil {
		t.Fatal(err)
	}
	var filters []struct {
		Config struct {
			Rules struct {
				Action   string          `json:"action"`
				Policies json.RawMessage `json:"policies"`
			} `json:"rules"`
		} `json:"typed_config"`
	}
	if err := json.Unmarshal(text, &filters); err != nil {
		t.Fatal(err)
	}
	result := ""
	for _, filter := range filters {
		result += filter.Config.Rules.Action + string(filter.Config.Rules.Policies)
	}
	return result
}

func TestScope(t *testing.T) {
	const nothing = `ALLOW{}`
	cases := []struct {
		what      string
		namespace string
		spec      string
		want      string
	}{
		{"a policy without rules allows nothing", "webapp", `{}`, nothing},
		{"a policy of another namespace does not count", "other", `{}`, ``},
		{"a policy of the root namespace counts everywhere", "istio-system", `{}`, nothing},
		{"a selector that fits", "webapp", `{"selector":{"matchLabels":{"app":"backend"}}}`, nothing},
		{"a selector that does not fit", "webapp", `{"selector":{"matchLabels":{"app":"frontend"}}}`, ``},
		{"a denial without rules denies nothing", "webapp", `{"action":"DENY"}`, ``},
		{"an empty rule fits everybody", "webapp", `{"rules":[{}]}`,
			`ALLOW{"ns[webapp]-policy[p]-rule[0]":{"permissions":[{"any":true}],"principals":[{"any":true}]}}`},
	}
	for _, test := range cases {
		if got := rules(t, policy(t, test.namespace, "p", test.spec)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.what, got, test.want)
		}
	}
}

func TestNoPolicyMeansNoFilter(t *testing.T) {
	if got := rules(t); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestTheLabsBackendPolicy(t *testing.T) {
	got := rules(t, policy(t, "webapp", "backend", `{"rules":[{
		"from":[{"source":{"principals":["cluster.local/ns/webapp/sa/frontend"]}}],
		"to":[{"operation":{"methods":["GET"],"paths":["/api/*","/health"]}}]}]}`))
	want := `ALLOW{"ns[webapp]-policy[backend]-rule[0]":{` +
		`"permissions":[{"and_rules":{"rules":[` +
		`{"or_rules":{"rules":[{"header":{"name":":method","string_match":{"exact":"GET"}}}]}},` +
		`{"or_rules":{"rules":[{"url_path":{"path":{"prefix":"/api/"}}},{"url_path":{"path":{"exact":"/health"}}}]}}]}}],` +
		`"principals":[{"and_ids":{"ids":[{"or_ids":{"ids":[` +
		`{"authenticated":{"principal_name":{"exact":"spiffe://cluster.local/ns/webapp/sa/frontend"}}}]}}]}}]}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPrincipals(t *testing.T) {
	cases := map[string]string{
		`cluster.local/ns/a/sa/b`: `{"exact":"spiffe://cluster.local/ns/a/sa/b"}`,
		`cluster.local/ns/a/*`:    `{"prefix":"spiffe://cluster.local/ns/a/"}`,
		`*/sa/b`:                  `{"safe_regex":{"regex":"spiffe://.*/sa/b"}}`,
		`*`:                       `{"safe_regex":{"regex":".+"}}`,
		// Written with the scheme it matches nobody; the real Istio has the same trap.
		`spiffe://cluster.local/ns/a/sa/b`: `{"exact":"spiffe://spiffe://cluster.local/ns/a/sa/b"}`,
	}
	for value, want := range cases {
		text, err := json.Marshal(principal(value))
		if err != nil {
			t.Fatal(err)
		}
		if want = `{"authenticated":{"principal_name":` + want + `}}`; string(text) != want {
			t.Errorf("%s: got %s, want %s", value, text, want)
		}
	}
}

func TestDenialComesFirstAndNegationsNegate(t *testing.T) {
	got := rules(t,
		policy(t, "webapp", "allow", `{}`),
		policy(t, "webapp", "deny", `{"action":"DENY","rules":[{
			"from":[{"source":{"notNamespaces":["webapp"]}}],"to":[{"operation":{"ports":["5000"]}}]}]}`))
	want := `DENY{"ns[webapp]-policy[deny]-rule[0]":{` +
		`"permissions":[{"and_rules":{"rules":[{"or_rules":{"rules":[{"destination_port":5000}]}}]}}],` +
		`"principals":[{"and_ids":{"ids":[{"not_id":{"or_ids":{"ids":[` +
		`{"authenticated":{"principal_name":{"safe_regex":{"regex":".*/ns/webapp/.*"}}}}]}}}]}}]}}ALLOW{}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
