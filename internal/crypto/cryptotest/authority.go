// Package cryptotest makes certificates for tests: in memory, and as files the way
// the object tls-creds-x509 wants them.
package cryptotest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates, which are valid for an hour.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
	t    testing.TB
}

// New returns a new authority, whom nobody trusts yet.
func New(t testing.TB) *Authority {
	t.Helper()
	key := newKey(t)
	cert := template(1, "ca")
	cert.IsCA, cert.BasicConstraintsValid, cert.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	return &Authority{sign(t, cert, cert, key, key), key, t}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func sign(t testing.TB, cert, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return cert
}

// Pool returns the authority as one that is trusted.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// Serial returns the number of the certificates for a name.
func Serial(name string) int64 { return int64(len(name)) + 100 }

// Certificate issues one for a common name; change, unless it is nil, may alter it.
func (a *Authority) Certificate(name string, change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, cert := newKey(a.t), template(Serial(name), name)
	if change != nil {
		change(cert)
	}
	cert = sign(a.t, cert, a.Cert, key, a.Key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// Files puts the authority, and a certificate as of Certificate and its key, into
// dir; end is "server" or "client".
func (a *Authority) Files(dir, end, name string, change func(*x509.Certificate)) {
	a.t.Helper()
	c := a.Certificate(name, change)
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	WritePEM(a.t, filepath.Join(dir, "ca-cert.pem"), "CERTIFICATE", a.Cert.Raw)
	WritePEM(a.t, filepath.Join(dir, end+"-cert.pem"), "CERTIFICATE", c.Certificate[0])
	WritePEM(a.t, filepath.Join(dir, end+"-key.pem"), "PRIVATE KEY", key)
}

// WritePEM writes a file of one block.
func WritePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
