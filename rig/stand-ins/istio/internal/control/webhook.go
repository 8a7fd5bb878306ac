package control

import (
	"encoding/json"
	"io"
	"log"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ztlab.rig/istio/internal/inject"
	"ztlab.rig/istio/internal/mesh"
)

// maximumReview bounds what the API server may send; its own limit for an object is 3 MiB.
const maximumReview = 8 << 20

// Webhooks has the paths of port 15017. The settings are asked for at each pod, because installing again may change them.
func Webhooks(settings func() (inject.Settings, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/inject", answer(func(request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return injected(request, settings)
	}))
	mux.HandleFunc("/validate", answer(validated))
	return mux
}

func answer(decide func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(writer, request.Body, maximumReview))
		var review admissionv1.AdmissionReview
		if err == nil {
			err = json.Unmarshal(body, &review)
		}
		if err != nil || review.Request == nil {
			http.Error(writer, "not an admission review", http.StatusBadRequest)
			return
		}
		response := decide(review.Request)
		response.UID = review.Request.UID
		review.Request, review.Response = nil, response
		reply(writer, review)
	}
}

func injected(request *admissionv1.AdmissionRequest, settings func() (inject.Settings, error)) *admissionv1.AdmissionResponse {
	var pod corev1.Pod
	if err := json.Unmarshal(request.Object.Raw, &pod); err != nil {
		return refused(err)
	}
	// While a pod is being made, only the request knows its namespace.
	pod.Namespace = request.Namespace
	current, err := settings()
	if err != nil {
		return refused(err)
	}
	patch, err := inject.Patch(&pod, current)
	if err != nil {
		return refused(err)
	}
	if patch == nil {
		return &admissionv1.AdmissionResponse{Allowed: true}
	}
	log.Printf("injected a sidecar into a pod of %s (%s%s)", request.Namespace, pod.GenerateName, pod.Name)
	kind := admissionv1.PatchTypeJSONPatch
	return &admissionv1.AdmissionResponse{Allowed: true, Patch: patch, PatchType: &kind}
}

func validated(request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	var object struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(request.Object.Raw, &object); err != nil {
		return refused(err)
	}
	if err := mesh.Check(request.Kind.Kind, object.Spec); err != nil {
		return refused(err)
	}
	return &admissionv1.AdmissionResponse{Allowed: true}
}

func refused(err error) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{Message: err.Error(), Reason: metav1.StatusReasonInvalid, Code: 400}}
}
