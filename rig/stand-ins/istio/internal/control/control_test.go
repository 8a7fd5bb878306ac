package control

import (
	"encoding/json"
	"reflect"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ztlab.rig/istio/internal/mesh"
	"ztlab.rig/istio/internal/proxyconfig"
	"ztlab.rig/istio/internal/wire"
)

func TestOnlyTheServiceAccountOfAPodIsACaller(t *testing.T) {
	user := func(name string, pods ...string) authenticationv1.UserInfo {
		return authenticationv1.UserInfo{Username: name, Extra: map[string]authenticationv1.ExtraValue{podNameKey: pods}}
	}
	caller, err := callerOf(user("system:serviceaccount:webapp:frontend", "frontend-1"))
	if err != nil || caller != (Caller{Namespace: "webapp", ServiceAccount: "frontend", Pod: "frontend-1"}) {
		t.Errorf("got %+v, %v", caller, err)
	}
	for _, refused := range []authenticationv1.UserInfo{
		user("kubernetes-admin", "frontend-1"), user("system:serviceaccount:webapp:frontend"), user("system:serviceaccount:webapp", "x"),
	} {
		if caller, err := callerOf(refused); err == nil {
			t.Errorf("%s became %+v", refused.Username, caller)
		}
	}
}

func TestRootGoesIntoTheWebhooksThatLackIt(t *testing.T) {
	keeper := trustKeeper{root: []byte("root")}
	own := &admissionv1.ServiceReference{Namespace: "istio-system", Name: "istiod"}
	ours := map[string]string{"istio.io/rev": "default"}
	clients := []admissionv1.WebhookClientConfig{{Service: own, CABundle: []byte("root")}, {Service: own}}
	if got := string(keeper.patch(ours, clients)); got != `[{"op":"add","path":"/webhooks/1/clientConfig/caBundle","value":"cm9vdA=="}]` {
		t.Errorf("got %s", got)
	}
	if got := keeper.patch(ours, clients[:1]); got != nil {
		t.Errorf("nothing was missing, got %s", got)
	}
	if got := keeper.patch(map[string]string{}, clients); got != nil {
		t.Errorf("somebody else's configuration would be changed: %s", got)
	}
}

func TestServices(t *testing.T) {
	yes, no, number, name := true, false, int32(5000), "http"
	services := []*corev1.Service{
		{ObjectMeta: metav1.ObjectMeta{Name: "headless", Namespace: "a"}, Spec: corev1.ServiceSpec{ClusterIP: "None"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "backend-service", Namespace: "a"}, Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.5", Selector: map[string]string{"app": "backend"},
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, TargetPort: intstr.FromInt(5000), Protocol: corev1.ProtocolTCP},
				{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
			}}},
	}
	slices := []*discoveryv1.EndpointSlice{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Labels: map[string]string{discoveryv1.LabelServiceName: "backend-service"}},
		Ports:      []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
			{Addresses: []string{"10.0.0.3"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
			{Addresses: []string{"10.0.0.1"}},
		},
	}}
	want := []mesh.Service{{
		Name: "backend-service", Namespace: "a", ClusterIP: "10.96.0.5", Selector: map[string]string{"app": "backend"},
		Ports: []mesh.Port{{Name: "http", Number: 80, TargetPort: 5000, Endpoints: []mesh.Endpoint{
			{Address: "10.0.0.1", Port: 5000}, {Address: "10.0.0.2", Port: 5000},
		}}},
	}}
	if got := meshServices(services, slices); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestSyncStateHasTheRecordedNames(t *testing.T) {
	state := proxyState{
		kind:  proxyconfig.Sidecar,
		sent:  proxyconfig.Configuration{ClustersVersion: "c", ListenersVersion: "l", HasRoutes: true},
		acked: wire.Acked{Clusters: "c", Listeners: "old"},
	}
	got, err := json.Marshal(describe(Caller{Namespace: "webapp", Pod: "backend-1"}, state))
	want := `{"cluster_id":"Kubernetes","proxy":"backend-1.webapp","proxy_type":"sidecar","istio_version":"1.20.0",` +
		`"cluster_sent":"c","cluster_acked":"c","listener_sent":"l","listener_acked":"old","route_sent":"l","route_acked":"old",` +
		`"endpoint_sent":"c","endpoint_acked":"c"}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
