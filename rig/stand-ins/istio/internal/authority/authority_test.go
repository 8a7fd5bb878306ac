package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/url"
	"testing"
)

const identity = "spiffe://cluster.local/ns/webapp/sa/frontend"

// boastful asks for a name that the caller does not have.
func boastful(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := url.Parse("spiffe://cluster.local/ns/kube-system/sa/root")
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "somebody else"}, URIs: []*url.URL{other},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("CERTIFICATE REQUEST", request)
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestCertificateSaysWhoTheCallerIsAndNothingElse(t *testing.T) {
	authority, err := New()
	if err != nil {
		t.Fatal(err)
	}
	text, err := authority.SignWorkload(boastful(t), identity)
	if err != nil {
		t.Fatal(err)
	}
	certificate := parse(t, text)
	if len(certificate.URIs) != 1 || certificate.URIs[0].String() != identity {
		t.Errorf("names: %v", certificate.URIs)
	}
	if subject := certificate.Subject.String(); subject != "" {
		t.Errorf("subject: %q", subject)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority.Root())
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: trusted, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
}

func TestKeptRootGoesOnSigning(t *testing.T) {
	first, err := New()
	if err != nil {
		t.Fatal(err)
	}
	second, err := Load(first.Root(), first.Key())
	if err != nil {
		t.Fatal(err)
	}
	text, err := second.SignWorkload(boastful(t), identity)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(first.Root())
	if _, err := parse(t, text).Verify(x509.VerifyOptions{Roots: trusted}); err != nil {
		t.Error(err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	authority, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "-----BEGIN CERTIFICATE REQUEST-----\naGVsbG8=\n-----END CERTIFICATE REQUEST-----\n"} {
		if _, err := authority.SignWorkload([]byte(text), identity); err == nil {
			t.Errorf("%q was signed", text)
		}
	}
}
