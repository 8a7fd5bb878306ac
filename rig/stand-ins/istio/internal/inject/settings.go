package inject

import (
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"
)

// Settings is what the installation decides about sidecars.
type Settings struct {
	Image           string
	ImagePullPolicy string
	// ProxyMetadata goes into the proxy's environment.
	ProxyMetadata map[string]string
}

// ParseSettings reads the two ConfigMaps that istioctl writes: the mesh's configuration (YAML) and the injector's values (JSON).
func ParseSettings(meshText, valuesText string) (Settings, error) {
	var meshConfig struct {
		DefaultConfig struct {
			ProxyMetadata map[string]string `json:"proxyMetadata"`
		} `json:"defaultConfig"`
	}
	if err := yaml.Unmarshal([]byte(meshText), &meshConfig); err != nil {
		return Settings{}, fmt.Errorf("the mesh's configuration: %w", err)
	}
	var values struct {
		Global struct {
			Hub             string `json:"hub"`
			Tag             string `json:"tag"`
			ImagePullPolicy string `json:"imagePullPolicy"`
			Proxy           struct {
				Image string `json:"image"`
			} `json:"proxy"`
		} `json:"global"`
	}
	if err := json.Unmarshal([]byte(valuesText), &values); err != nil {
		return Settings{}, fmt.Errorf("the injector's values: %w", err)
	}
	global := values.Global
	if global.Hub == "" || global.Tag == "" || global.Proxy.Image == "" {
		return Settings{}, fmt.Errorf("the injector's values name no proxy image: %s", valuesText)
	}
	return Settings{
		Image:           global.Hub + "/" + global.Proxy.Image + ":" + global.Tag,
		ImagePullPolicy: global.ImagePullPolicy,
		ProxyMetadata:   meshConfig.DefaultConfig.ProxyMetadata,
	}, nil
}
