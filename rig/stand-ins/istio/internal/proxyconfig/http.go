package proxyconfig

import (
	"ztlab.rig/istio/internal/envoy"
)

const connectionManagerType = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

// accessLogFormat is Istio's default text format.
const accessLogFormat = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" " +
	"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% " +
	"\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% " +
	"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" " +
	"\"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% " +
	"%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"

// MetricsPipe is where Envoy writes one JSON line for each request; pilot-agent reads them at the other end and counts.
// It is the first descriptor after the three standard ones.
const MetricsPipe = "/dev/fd/3"

// httpSettings is what the connection managers of the three kinds of listener differ in.
type httpSettings struct {
	statPrefix string
	hosts      envoy.List
	filters    envoy.List
	reporter   string
	extra      envoy.Object
}

// connectionManager reads HTTP requests. HTTP/1.0 stays off, Envoy's default: such a request is answered with 426.
func connectionManager(settings httpSettings) envoy.Object {
	router := envoy.Extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", nil)
	fields := envoy.Object{
		"stat_prefix":    settings.statPrefix,
		"server_name":    "istio-envoy",
		"normalize_path": true,
		"access_log":     accessLogs(settings.reporter),
		"http_filters":   append(append(envoy.List{}, settings.filters...), router),
		"upgrade_configs": envoy.List{
			envoy.Object{"upgrade_type": "websocket"},
		},
		"route_config": envoy.Object{
			"name":                         settings.statPrefix,
			"virtual_hosts":                settings.hosts,
			"ignore_port_in_host_matching": true,
			// A route may name a Service that does not exist yet: its requests get 503, the others go on.
			"validate_clusters": false,
		},
	}
	for key, value := range settings.extra {
		fields[key] = value
	}
	return envoy.Extension("envoy.filters.network.http_connection_manager", connectionManagerType, fields)
}

// Reporters: which end of a request writes the line.
const (
	reporterSource      = "source"
	reporterDestination = "destination"
)

// accessLogs writes each request as text for people and as JSON for the agent. Who called whom is in the certificates of
// the connection between the proxies: for the receiver that is the downstream one, for the sender the upstream one.
func accessLogs(reporter string) envoy.List {
	text := envoy.Extension("envoy.access_loggers.stream", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
		envoy.Object{"log_format": envoy.Object{"text_format_source": envoy.Object{"inline_string": accessLogFormat}}})
	caller, callee := "%DOWNSTREAM_PEER_URI_SAN%", "%DOWNSTREAM_LOCAL_URI_SAN%"
	if reporter == reporterSource {
		caller, callee = "%UPSTREAM_LOCAL_URI_SAN%", "%UPSTREAM_PEER_URI_SAN%"
	}
	counted := envoy.Extension("envoy.access_loggers.file", "envoy.extensions.access_loggers.file.v3.FileAccessLog",
		envoy.Object{"path": MetricsPipe, "log_format": envoy.Object{"json_format": envoy.Object{
			"reporter": reporter,
			"code":     "%RESPONSE_CODE%",
			"flags":    "%RESPONSE_FLAGS%",
			"caller":   caller,
			"callee":   callee,
			"cluster":  "%UPSTREAM_CLUSTER%",
			"asked":    "%REQUESTED_SERVER_NAME%",
			"host":     "%REQ(:AUTHORITY)%",
		}}})
	return envoy.List{text, counted}
}

func listenerFilter(name, typeName string) envoy.Object {
	return envoy.Extension("envoy.filters.listener."+name, "envoy.extensions.filters.listener."+typeName, nil)
}

// originalDestination finds out where a redirected connection was going.
func originalDestination() envoy.Object {
	return listenerFilter("original_dst", "original_dst.v3.OriginalDst")
}

// passBytes is a filter that carries a connection on without looking into it.
func passBytes(cluster string) envoy.Object {
	return envoy.Extension("envoy.filters.network.tcp_proxy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
		envoy.Object{"stat_prefix": cluster, "cluster": cluster})
}
