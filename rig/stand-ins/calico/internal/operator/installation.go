package operator

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// calicoVersion is the tag of every image and what the Installation's status says.
const calicoVersion = "v3.27.0"

// Where images come from when the spec does not say, and the word by which it may say just that.
const (
	defaultRegistry  = "docker.io/"
	defaultImagePath = "calico"
	useDefault       = "UseDefault"
)

// noDriver is what a driver's path says when there is to be none.
const noDriver = "None"

// nodeRangeBits is the size of the part of the pool that the node hands out. The plan is one node, so the pool's first
// part is enough and needs no book-keeping.
const nodeRangeBits = 24

//go:embed defaults.yaml
var defaultsText []byte

// Settings is what the manifests need to know of an Installation.
type Settings struct {
	PoolRange netip.Prefix
	NodeRange netip.Prefix

	// Whether the two volume drivers are wanted: a path says yes, `None` says no.
	FlexVolume bool
	CSI        bool

	registry    string
	imagePath   string
	imagePrefix string
}

// Image returns the reference of one of Calico's images.
func (settings Settings) Image(name string) string {
	return fmt.Sprintf("%s%s/%s%s:%s", settings.registry, settings.imagePath, settings.imagePrefix, name, calicoVersion)
}

// readSettings takes from an Installation what matters here, and says what is wrong with it.
func readSettings(installation *unstructured.Unstructured) (Settings, error) {
	pools, found, err := unstructured.NestedSlice(installation.Object, "spec", "calicoNetwork", "ipPools")
	if err != nil {
		return Settings{}, err
	}
	if !found || len(pools) != 1 {
		return Settings{}, errors.New("spec.calicoNetwork.ipPools must hold one pool")
	}
	pool, isObject := pools[0].(map[string]any)
	if !isObject {
		return Settings{}, errors.New("spec.calicoNetwork.ipPools[0] is not an object")
	}
	text, _, err := unstructured.NestedString(pool, "cidr")
	if err != nil {
		return Settings{}, err
	}
	poolRange, err := netip.ParsePrefix(text)
	if err != nil {
		return Settings{}, fmt.Errorf("spec.calicoNetwork.ipPools[0].cidr: %w", err)
	}
	if !poolRange.Addr().Is4() || poolRange.Bits() > nodeRangeBits {
		return Settings{}, fmt.Errorf("spec.calicoNetwork.ipPools[0].cidr: %s is not an IPv4 range of /%d or larger", text, nodeRangeBits)
	}
	settings := Settings{
		PoolRange:   poolRange.Masked(),
		NodeRange:   netip.PrefixFrom(poolRange.Masked().Addr(), nodeRangeBits),
		FlexVolume:  specWord(installation, "flexVolumePath", "") != noDriver,
		CSI:         specWord(installation, "kubeletVolumePluginPath", "") != noDriver,
		registry:    specWord(installation, "registry", defaultRegistry),
		imagePath:   specWord(installation, "imagePath", defaultImagePath),
		imagePrefix: specWord(installation, "imagePrefix", ""),
	}
	if !strings.HasSuffix(settings.registry, "/") {
		settings.registry += "/"
	}
	return settings, nil
}

func specWord(installation *unstructured.Unstructured, field, fallback string) string {
	word, found, err := unstructured.NestedString(installation.Object, "spec", field)
	if err != nil || !found || word == "" || word == useDefault {
		return fallback
	}
	return word
}

// withDefaults returns the Installation with every default that its spec leaves out, and whether that changed it.
func withDefaults(installation *unstructured.Unstructured) (*unstructured.Unstructured, bool, error) {
	defaults := map[string]any{}
	if err := yaml.Unmarshal(defaultsText, &defaults); err != nil {
		return nil, false, fmt.Errorf("defaults.yaml: %w", err)
	}
	complete := installation.DeepCopy()
	spec, _, err := unstructured.NestedMap(complete.Object, "spec")
	if err != nil {
		return nil, false, err
	}
	if spec == nil {
		spec = map[string]any{}
	}
	changed := fillIn(spec, defaults)
	return complete, changed, unstructured.SetNestedMap(complete.Object, runtime.DeepCopyJSON(spec), "spec")
}

// fillIn adds the fields of defaults that target lacks, at every depth.
func fillIn(target, defaults map[string]any) bool {
	changed := false
	for field, value := range defaults {
		present, exists := target[field]
		if !exists {
			target[field] = jsonNumbers(value)
			changed = true
			continue
		}
		presentFields, presentIsObject := present.(map[string]any)
		defaultFields, defaultIsObject := value.(map[string]any)
		if presentIsObject && defaultIsObject && fillIn(presentFields, defaultFields) {
			changed = true
		}
	}
	return changed
}

// jsonNumbers turns the float64 that the YAML reader makes of every number into the int64 that API objects hold.
func jsonNumbers(value any) any {
	switch value := value.(type) {
	case float64:
		return int64(value)
	case map[string]any:
		converted := map[string]any{}
		for field, element := range value {
			converted[field] = jsonNumbers(element)
		}
		return converted
	default:
		return value
	}
}
