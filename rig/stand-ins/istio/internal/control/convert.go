package control

import (
	"encoding/json"
	"log"
	"sort"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ztlab.rig/istio/internal/mesh"
)

// What follows turns objects of the API into the mesh's own values. Lists are sorted, because watched objects come in any
// order and the same mesh must give the same configuration.

func workloads(pods []*corev1.Pod) []mesh.Workload {
	result := []mesh.Workload{}
	for _, pod := range pods {
		// A pod on the node's network has the node's address, which says nothing about the pod.
		if pod.Status.PodIP == "" || pod.Spec.HostNetwork || hasEnded(pod) {
			continue
		}
		result = append(result, mesh.Workload{
			Name:           pod.Name,
			Namespace:      pod.Namespace,
			ServiceAccount: pod.Spec.ServiceAccountName,
			Address:        pod.Status.PodIP,
			Labels:         pod.Labels,
		})
	}
	sort.Slice(result, func(left, right int) bool {
		return result[left].Namespace+"/"+result[left].Name < result[right].Namespace+"/"+result[right].Name
	})
	return result
}

func hasEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func meshServices(services []*corev1.Service, slices []*discoveryv1.EndpointSlice) []mesh.Service {
	byService := endpointsOf(slices)
	result := []mesh.Service{}
	for _, service := range services {
		// A Service without an address of its own has nothing to be found by in a request's way.
		if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		result = append(result, mesh.Service{
			Name:      service.Name,
			Namespace: service.Namespace,
			ClusterIP: service.Spec.ClusterIP,
			Selector:  service.Spec.Selector,
			Ports:     ports(service, byService[service.Namespace+"/"+service.Name]),
		})
	}
	sort.Slice(result, func(left, right int) bool { return result[left].Host() < result[right].Host() })
	return result
}

func ports(service *corev1.Service, slices []*discoveryv1.EndpointSlice) []mesh.Port {
	result := []mesh.Port{}
	for _, port := range service.Spec.Ports {
		if port.Protocol != corev1.ProtocolTCP {
			continue
		}
		converted := mesh.Port{
			Name:       port.Name,
			Number:     int(port.Port),
			TargetPort: port.TargetPort.IntValue(),
			Endpoints:  endpoints(port.Name, slices),
		}
		if port.AppProtocol != nil {
			converted.AppProtocol = *port.AppProtocol
		}
		result = append(result, converted)
	}
	return result
}

// endpoints lists the ready addresses behind a port; slices name the port as the Service does.
func endpoints(portName string, slices []*discoveryv1.EndpointSlice) []mesh.Endpoint {
	result := []mesh.Endpoint{}
	for _, slice := range slices {
		for _, port := range slice.Ports {
			if port.Port == nil || port.Name == nil || *port.Name != portName {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
					result = append(result, mesh.Endpoint{Address: endpoint.Addresses[0], Port: int(*port.Port)})
				}
			}
		}
	}
	sort.Slice(result, func(left, right int) bool { return result[left].Address < result[right].Address })
	return result
}

func (store *Store) readPolicies(snapshot *mesh.Snapshot) error {
	var err error
	if snapshot.PeerAuthentications, err = decodeAll(store, policyResources.peerAuthentications,
		func(object mesh.Object, policy *mesh.PeerAuthentication) any {
			policy.Object = object
			return &policy.Spec
		}); err != nil {
		return err
	}
	if snapshot.AuthorizationPolicies, err = decodeAll(store, policyResources.authorizationPolicies,
		func(object mesh.Object, policy *mesh.AuthorizationPolicy) any {
			policy.Object = object
			return &policy.Spec
		}); err != nil {
		return err
	}
	if snapshot.Gateways, err = decodeAll(store, policyResources.gateways,
		func(object mesh.Object, gateway *mesh.Gateway) any { gateway.Object = object; return &gateway.Spec }); err != nil {
		return err
	}
	snapshot.VirtualServices, err = decodeAll(store, policyResources.virtualServices,
		func(object mesh.Object, service *mesh.VirtualService) any {
			service.Object = object
			return &service.Spec
		})
	return err
}

// decodeAll reads all watched objects of a kind. The function puts the object's name in and says where its spec goes.
func decodeAll[Policy any](store *Store, resource schema.GroupVersionResource, place func(mesh.Object, *Policy) any) ([]Policy, error) {
	objects, err := store.policies.ForResource(resource).Lister().List(labels.Everything())
	if err != nil {
		return nil, err
	}
	watched := make([]*unstructured.Unstructured, 0, len(objects))
	for _, object := range objects {
		watched = append(watched, object.(*unstructured.Unstructured))
	}
	sort.Slice(watched, func(left, right int) bool {
		return watched[left].GetNamespace()+"/"+watched[left].GetName() < watched[right].GetNamespace()+"/"+watched[right].GetName()
	})
	result := make([]Policy, 0, len(watched))
	for _, object := range watched {
		var policy Policy
		spec := place(mesh.Object{
			Name: object.GetName(), Namespace: object.GetNamespace(), Created: object.GetCreationTimestamp().Time,
		}, &policy)
		if err := decodeSpec(object, spec); err != nil {
			// Admission refuses such an object; one that slipped in while istiod was down must not stop the others.
			log.Printf("%s %s/%s is left out: %v", object.GetKind(), object.GetNamespace(), object.GetName(), err)
			continue
		}
		result = append(result, policy)
	}
	return result, nil
}

func decodeSpec(object *unstructured.Unstructured, spec any) error {
	text, err := json.Marshal(object.Object["spec"])
	if err != nil {
		return err
	}
	return json.Unmarshal(text, spec)
}
