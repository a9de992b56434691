package cli

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.issue("authority")
	return a
}

// issue makes a certificate for a name.
func (a *authority) issue(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// serverFiles makes a folder for tls-creds-x509.
func (a *authority) serverFiles(name string) string {
	a.t.Helper()
	dir := a.t.TempDir()
	cert, key := a.issue(name)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{
		{"ca-cert.pem", "CERTIFICATE", a.cert.Raw},
		{"server-cert.pem", "CERTIFICATE", cert.Raw},
		{"server-key.pem", "PRIVATE KEY", keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, f.name), pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return dir
}

// client is the configuration of one called name, of one without a certificate for "".
func (a *authority) client(name string) *tls.Config {
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "vm"}
	cfg.RootCAs.AddCert(a.cert)
	if name != "" {
		cert, key := a.issue(name)
		cfg.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	return cfg
}

// A monitor on TLS serves whom it is told to, and nobody keeps it from the next.
func TestTLSMonitor(t *testing.T) {
	a := newAuthority(t)
	p := begin(t, "-M", "none", "-qmp", qmpSocket,
		"-object", "tls-creds-x509,id=tls,dir="+a.serverFiles("vm")+",endpoint=server,verify-peer=on",
		"-object", "authz-simple,id=who,identity=CN=alice",
		"-chardev", "socket,id=m,host=127.0.0.1,port=0,server=on,wait=off,tls-creds=tls,tls-authz=who", "-mon", "m,mode=control")
	q := p.dialQMP("qmp")
	var list []struct{ Label, Filename string }
	if err := q.Execute(p.ctx, "query-chardev", nil, &list); err != nil {
		t.Fatal(err)
	}
	addr := ""
	for _, c := range list {
		if c.Label == "m" {
			addr, _, _ = strings.Cut(strings.TrimPrefix(c.Filename, "disconnected:tcp:"), ",")
		}
	}
	greeting := func(cfg *tls.Config) (string, error) {
		conn, err := net.DialTimeout("tcp", addr, limit)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		if cfg == nil { // plain text
			if _, err := conn.Write([]byte("{\"execute\": \"quit\"}\n")); err != nil {
				return "", err
			}
			return bufio.NewReader(conn).ReadString('\n')
		}
		return bufio.NewReader(tls.Client(conn, cfg)).ReadString('\n')
	}
	for _, c := range []struct {
		name   string
		cfg    *tls.Config
		served bool
	}{
		{"alice", a.client("alice"), true},
		{"plain text", nil, false},
		{"somebody else", a.client("bob"), false},
		{"nobody", a.client(""), false},
		{"one of another authority", &tls.Config{
			InsecureSkipVerify: true, Certificates: newAuthority(t).client("alice").Certificates,
		}, false},
		{"alice again", a.client("alice"), true},
	} {
		text, err := greeting(c.cfg)
		if served := strings.HasPrefix(text, `{"QMP"`); served != c.served {
			t.Errorf("%s is served: %v, %v", c.name, served, err)
		}
	}
	for _, id := range []string{"tls", "who"} {
		err := q.Execute(p.ctx, "object-del", map[string]string{"id": id}, nil)
		if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "chardev 'm'") {
			t.Errorf("object-del %s: %v", id, err)
		}
	}
}
