package operator

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"strings"
	"text/template"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/pointer"
	"sigs.k8s.io/yaml"
)

// Periods of the probes, in seconds. Liveness is Calico's default. Its default for readiness is 30, which would be most
// of the time that a run of the rig waits for the network, and say nothing about the installer.
const (
	livenessPeriod  = 60
	readinessPeriod = 2
)

// manifestHash is the annotation by which the operator knows whether an object is what it would write today.
const manifestHash = "hash.operator.tigera.io/manifest"

//go:embed manifests/*.yaml
var manifestFiles embed.FS

// manifestOrder puts the namespace before what is in it, and the network before what needs it.
var manifestOrder = []string{"namespace", "calico-node", "calico-typha", "calico-kube-controllers", csiDriver}

// csiDriver is the DaemonSet that an Installation may do without.
const csiDriver = "csi-node-driver"

type manifestValues struct {
	Settings
	LivenessPeriod  int
	ReadinessPeriod int
}

// render returns the objects that an Installation asks for. They all belong to it: when it is deleted, Kubernetes'
// garbage collector removes them.
func render(settings Settings, owner *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	values := manifestValues{Settings: settings, LivenessPeriod: livenessPeriod, ReadinessPeriod: readinessPeriod}
	var objects []*unstructured.Unstructured
	for _, name := range manifestOrder {
		if name == csiDriver && !settings.CSI {
			continue
		}
		text, err := renderFile("manifests/"+name+".yaml", values)
		if err != nil {
			return nil, err
		}
		for _, document := range strings.Split(text, "\n---\n") {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
				return nil, fmt.Errorf("%s.yaml: %w", name, err)
			}
			own(object, owner)
			object.SetAnnotations(map[string]string{manifestHash: hash(document)})
			objects = append(objects, object)
		}
	}
	return objects, nil
}

func renderFile(path string, values manifestValues) (string, error) {
	parsed, err := template.ParseFS(manifestFiles, path)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, values); err != nil {
		return "", err
	}
	return text.String(), nil
}

func own(object, owner *unstructured.Unstructured) {
	object.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion:         owner.GetAPIVersion(),
		Kind:               owner.GetKind(),
		Name:               owner.GetName(),
		UID:                owner.GetUID(),
		Controller:         pointer.Bool(true),
		BlockOwnerDeletion: pointer.Bool(true),
	}})
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
