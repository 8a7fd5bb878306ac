// Package authority is the mesh's certificate authority: a self-signed root that signs what istiod itself and the
// proxies need.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	// WorkloadLifetime is how long a proxy's certificate is good, as in the real Istio. Proxies renew at half of it.
	WorkloadLifetime = 24 * time.Hour
	// clockSkew keeps a certificate good on a machine whose clock is a little behind.
	clockSkew = 2 * time.Minute
)

// Authority signs certificates with the mesh's root.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	root        []byte
	keyText     []byte
}

// New makes an authority with a fresh root.
func New() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(rootLifetime)
	if err != nil {
		return nil, err
	}
	template.Subject = pkix.Name{Organization: []string{"cluster.local"}}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return Load(encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER))
}

// Load takes up a root that was kept.
func Load(certificateText, keyText []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certificateText, keyText)
	if err != nil {
		return nil, fmt.Errorf("the mesh's root certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("the mesh's root certificate: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the mesh's root key cannot sign")
	}
	return &Authority{certificate: certificate, key: key, root: certificateText, keyText: keyText}, nil
}

// Root is the root certificate as text; everybody in the mesh trusts it.
func (authority *Authority) Root() []byte { return authority.root }

// Key is the root's key as text, to be kept.
func (authority *Authority) Key() []byte { return authority.keyText }

// SignWorkload signs a request's key for an identity. Nothing else is taken from the request: who the caller is was
// proven by its token, not by what it writes into the request.
func (authority *Authority) SignWorkload(requestText []byte, identity string) ([]byte, error) {
	block, _ := pem.Decode(requestText)
	if block == nil {
		return nil, errors.New("the certificate request is not PEM")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	name, err := url.Parse(identity)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(WorkloadLifetime)
	if err != nil {
		return nil, err
	}
	// The subject stays empty, so the name in the certificate is the SPIFFE identity alone.
	template.URIs = []*url.URL{name}
	return authority.sign(template, request.PublicKey)
}

// ServerCertificate makes a certificate for istiod's own ports.
func (authority *Authority) ServerCertificate(hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template, err := newTemplate(rootLifetime)
	if err != nil {
		return tls.Certificate{}, err
	}
	template.DNSNames = hosts
	certificateText, err := authority.sign(template, key.Public())
	if err != nil {
		return tls.Certificate{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificateText, encode("PRIVATE KEY", keyDER))
}

func (authority *Authority) sign(template *x509.Certificate, key crypto.PublicKey) ([]byte, error) {
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.certificate, key, authority.key)
	if err != nil {
		return nil, err
	}
	return encode("CERTIFICATE", der), nil
}

func newTemplate(lifetime time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(lifetime),
		BasicConstraintsValid: true,
	}, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
