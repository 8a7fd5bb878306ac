package inject

import (
	corev1 "k8s.io/api/core/v1"

	"ztlab.rig/istio/internal/names"
)

const (
	fileMode      = int32(0o644)
	tokenLifetime = int64(43200)
)

// mountedVolume is one volume of the proxy and where it is mounted.
type mountedVolume struct {
	name   string
	path   string
	source corev1.VolumeSource
}

func empty(medium corev1.StorageMedium) corev1.VolumeSource {
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: medium}}
}

// proxyVolumes lists the volumes in the order that the real Istio gives them. The stand-in's proxy uses the token, the
// root certificate and /etc/istio/proxy; the others are here because a pod's shape is something that others read.
func proxyVolumes() []mountedVolume {
	return []mountedVolume{
		{"workload-socket", "/var/run/secrets/workload-spiffe-uds", empty("")},
		{"credential-socket", "/var/run/secrets/credential-uds", empty("")},
		{"workload-certs", "/var/run/secrets/workload-spiffe-credentials", empty("")},
		{"istio-envoy", "/etc/istio/proxy", empty(corev1.StorageMediumMemory)},
		{"istio-data", "/var/lib/istio/data", empty("")},
		{"istio-podinfo", "/etc/istio/pod", podInfo()},
		{"istio-token", "/var/run/secrets/tokens", projectedToken()},
		{"istiod-ca-cert", "/var/run/secrets/istio", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			DefaultMode:          pointer(fileMode),
			LocalObjectReference: corev1.LocalObjectReference{Name: names.RootCertificateMap},
		}}},
	}
}

func podInfo() corev1.VolumeSource {
	file := func(name string) corev1.DownwardAPIVolumeFile {
		return corev1.DownwardAPIVolumeFile{
			Path: name, FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata." + name},
		}
	}
	return corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
		DefaultMode: pointer(fileMode), Items: []corev1.DownwardAPIVolumeFile{file("labels"), file("annotations")},
	}}
}

// projectedToken is the proof of identity that the proxy shows to istiod, good for nobody else.
func projectedToken() corev1.VolumeSource {
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: pointer(fileMode),
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: names.TokenAudience, ExpirationSeconds: pointer(tokenLifetime), Path: "istio-token",
		}}},
	}}
}

func volumes() []corev1.Volume {
	result := []corev1.Volume{}
	for _, volume := range proxyVolumes() {
		result = append(result, corev1.Volume{Name: volume.name, VolumeSource: volume.source})
	}
	return result
}

// mounts lists the same volumes in the order in which the real Istio mounts them.
func mounts() []corev1.VolumeMount {
	paths := map[string]string{}
	for _, volume := range proxyVolumes() {
		paths[volume.name] = volume.path
	}
	result := []corev1.VolumeMount{}
	for _, name := range []string{
		"workload-socket", "credential-socket", "workload-certs", "istiod-ca-cert", "istio-data", "istio-envoy",
		"istio-token", "istio-podinfo",
	} {
		result = append(result, corev1.VolumeMount{Name: name, MountPath: paths[name]})
	}
	return result
}

func volumeNames() []string {
	result := []string{}
	for _, volume := range proxyVolumes() {
		result = append(result, volume.name)
	}
	return result
}
