package agent

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"sort"
	"strings"
	"sync"
)

// requestCounter counts requests into istio_requests_total, the metric by which dashboards see the mesh.
//
// Istio's own Envoy makes this metric with a filter that upstream Envoy does not have. Here Envoy writes a line for
// each request into a pipe and the agent counts the lines: the numbers are of real requests and real certificates, but
// the filter itself stays unproven, and only the labels below exist.
type requestCounter struct {
	namespace string
	workload  string

	mutex  sync.Mutex
	counts map[string]int
}

// requestLine is what proxyconfig tells Envoy to write.
type requestLine struct {
	Reporter string `json:"reporter"`
	Code     int    `json:"code"`
	Flags    string `json:"flags"`
	Caller   string `json:"caller"`
	Callee   string `json:"callee"`
	Cluster  string `json:"cluster"`
	Asked    string `json:"asked"`
	Host     string `json:"host"`
}

// newRequestCounter counts for one workload, which is the end of each request that the proxy knows for certain.
func newRequestCounter(namespace, workload string) *requestCounter {
	return &requestCounter{namespace: namespace, workload: workload, counts: map[string]int{}}
}

// read counts until Envoy ends.
func (counter *requestCounter) read(pipe io.Reader) {
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		var line requestLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			log.Printf("a request's line: %v", err)
			continue
		}
		counter.count(line)
	}
	if err := lines.Err(); err != nil {
		log.Printf("reading requests: %v", err)
	}
}

func (counter *requestCounter) count(line requestLine) {
	labels := counter.labels(line)
	counter.mutex.Lock()
	defer counter.mutex.Unlock()
	counter.counts[labels]++
}

// labels are written as Prometheus has them. A value that this end does not know is "unknown", as in the real metric.
func (counter *requestCounter) labels(line requestLine) string {
	source, destination := "unknown", counter.workload
	sourceNamespace, destinationNamespace := namespaceOf(line.Caller), counter.namespace
	if line.Reporter == "source" {
		source, destination = counter.workload, "unknown"
		sourceNamespace, destinationNamespace = counter.namespace, namespaceOf(line.Callee)
	}
	return fmt.Sprintf(`reporter=%q,source_workload=%q,source_workload_namespace=%q,source_principal=%q,`+
		`destination_workload=%q,destination_workload_namespace=%q,destination_principal=%q,destination_service=%q,`+
		`request_protocol="http",response_code="%d",response_flags=%q,connection_security_policy=%q`,
		line.Reporter, source, sourceNamespace, orUnknown(line.Caller),
		destination, destinationNamespace, orUnknown(line.Callee), line.service(),
		line.Code, orDash(line.Flags), line.security())
}

// service is the full name of the Service that was asked: the sending side knows the cluster it chose, the receiving side
// the server name that the sender asked for (outbound_.PORT_._.HOST). Without either there is the Host header.
func (line requestLine) service() string {
	if parts := strings.Split(line.Cluster, "|"); len(parts) == 4 {
		return parts[3]
	}
	if _, host, found := strings.Cut(line.Asked, "_._."); found {
		return host
	}
	return orUnknown(line.Host)
}

// security is what the receiving side saw. The sending side cannot say: it reports "unknown", as the real one does.
func (line requestLine) security() string {
	switch {
	case line.Reporter == "source":
		return "unknown"
	case orUnknown(line.Caller) != "unknown":
		return "mutual_tls"
	default:
		return "none"
	}
}

// text is the metric in Prometheus' format.
func (counter *requestCounter) text() string {
	counter.mutex.Lock()
	defer counter.mutex.Unlock()
	series := make([]string, 0, len(counter.counts))
	for labels := range counter.counts {
		series = append(series, labels)
	}
	sort.Strings(series)
	text := strings.Builder{}
	text.WriteString("# TYPE istio_requests_total counter\n")
	for _, labels := range series {
		fmt.Fprintf(&text, "istio_requests_total{%s} %d\n", labels, counter.counts[labels])
	}
	return text.String()
}

// namespaceOf reads the namespace out of spiffe://cluster.local/ns/NAMESPACE/sa/NAME.
func namespaceOf(identity string) string {
	_, rest, found := strings.Cut(identity, "/ns/")
	namespace, _, complete := strings.Cut(rest, "/")
	if !found || !complete {
		return "unknown"
	}
	return namespace
}

// orUnknown: Envoy writes null or "-" for what it does not know.
func orUnknown(value string) string {
	if value == "" || value == "-" {
		return "unknown"
	}
	return value
}

func orDash(value string) string {
	if value == "" {
		return "-"
	}
	return value
}
