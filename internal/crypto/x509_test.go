package crypto

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"govmd/internal/crypto/cryptotest"
	"govmd/internal/object"
)

func creds(t testing.TB, options string) (*X509, error) {
	t.Helper()
	var s object.Collection
	if err := s.Parse("tls-creds-x509,id=c," + options); err != nil {
		return nil, err
	}
	return s.Find("c").(*X509), nil
}

// handshake connects a client to a server and returns what each says.
func handshake(t testing.TB, server, client *X509, host string) (serverErr, clientErr error) {
	t.Helper()
	sc, err := server.ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	cc, err := client.ClientTLS(host)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			err = tls.Server(conn, sc).Handshake()
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(conn, cc)
	clientErr = tc.Handshake()
	if clientErr == nil {
		_, clientErr = tc.Read(make([]byte, 1)) // a refusal of ours comes after the handshake
		if clientErr != nil && strings.Contains(clientErr.Error(), "EOF") {
			clientErr = nil
		}
	}
	_ = conn.Close()
	return <-done, clientErr
}

// Who is who is decided by certificates, of which those with no name but a
// common name are as good as others.
func TestHandshakes(t *testing.T) {
	p, stranger := cryptotest.New(t), cryptotest.New(t)
	named := func(c *x509.Certificate) { c.DNSNames = []string{"host.example"} }
	for _, c := range []struct {
		name           string
		serverCN       string
		change         func(*x509.Certificate)
		host           string
		clientPKI      *cryptotest.Authority
		verify         string
		server, client string // parts of the errors
	}{
		{"common name", "host.example", nil, "host.example", p, "", "", ""},
		{"common name that is an address", "127.0.0.1", nil, "127.0.0.1", p, "", "", ""},
		{"other common name", "host.example", nil, "other.example", p, "", "bad certificate", "does not match the hostname"},
		{"alternative name", "whatever", named, "host.example", p, "", "", ""},
		{"common name beside alternative", "whatever", named, "whatever", p, "", "bad certificate", "does not match the hostname"},
		{"no host to check", "host.example", nil, "", p, "", "", ""},
		{"no client certificate", "host.example", nil, "host.example", nil, "", "didn't provide a certificate", "certificate required"},
		{"client that is not asked", "host.example", nil, "host.example", nil, ",verify-peer=off", "", ""},
		{"stranger", "host.example", nil, "host.example", stranger, ",sanity-check=off", "unknown authority", "certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sd, cd := t.TempDir(), t.TempDir()
			p.Files(sd, "server", c.serverCN, c.change)
			if c.clientPKI != nil {
				c.clientPKI.Files(cd, "client", "me", nil)
			}
			cryptotest.WritePEM(t, filepath.Join(cd, caFile), "CERTIFICATE", p.Cert.Raw)
			s, err := creds(t, "endpoint=server,dir="+sd+c.verify)
			if err != nil {
				t.Fatal(err)
			}
			cl, err := creds(t, "endpoint=client,sanity-check=off,dir="+cd)
			if err != nil {
				t.Fatal(err)
			}
			serverErr, clientErr := handshake(t, s, cl, c.host)
			for who, e := range map[string]struct {
				err  error
				want string
			}{"server": {serverErr, c.server}, "client": {clientErr, c.client}} {
				if (e.err == nil) != (e.want == "") || e.err != nil && !strings.Contains(e.err.Error(), e.want) {
					t.Errorf("%s: %v, want %q", who, e.err, e.want)
				}
			}
			if _, err := s.ClientTLS(""); err == nil {
				t.Error("a server's credentials are a client's")
			}
			if _, err := cl.ServerTLS(); err == nil {
				t.Error("a client's credentials are a server's")
			}
		})
	}
}

// A revoked certificate is refused, and a renewed one is taken.
func TestRevocationAndRenewal(t *testing.T) {
	p := cryptotest.New(t)
	sd, cd := t.TempDir(), t.TempDir()
	p.Files(sd, "server", "host.example", nil)
	p.Files(cd, "client", "me", nil)
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(cryptotest.Serial("me")), RevocationTime: time.Now()}},
	}, p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	cryptotest.WritePEM(t, filepath.Join(sd, crlFile), "X509 CRL", der)
	s, err := creds(t, "endpoint=server,dir="+sd)
	if err != nil {
		t.Fatal(err)
	}
	c, err := creds(t, "endpoint=client,dir="+cd)
	if err != nil {
		t.Fatal(err)
	}
	if err, _ := handshake(t, s, c, "host.example"); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("revoked certificate: %v", err)
	}
	p.Files(cd, "client", "another", nil)
	late := time.Now().Add(time.Minute)
	if err := os.Chtimes(filepath.Join(cd, "client-cert.pem"), late, late); err != nil {
		t.Fatal(err)
	}
	if err, _ := handshake(t, s, c, "host.example"); err != nil {
		t.Errorf("renewed certificate: %v", err)
	}
}

func TestSanity(t *testing.T) {
	p, other := cryptotest.New(t), cryptotest.New(t)
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate)
		after  func(dir string)
		want   string
	}{
		{"good", nil, nil, ""},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, nil, "has expired"},
		{"future", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, nil, "is not yet active"},
		{"a CA", func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, nil, "basic constraints show a CA"},
		{"usage", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, nil, "usage does not permit digital signature"},
		{"purpose", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil,
			"purpose does not allow use with a TLS server"},
		{"other CA", nil, func(dir string) { cryptotest.WritePEM(t, filepath.Join(dir, caFile), "CERTIFICATE", other.Cert.Raw) },
			"failed validation against"},
		{"no key", nil, func(dir string) { _ = os.Remove(filepath.Join(dir, "server-key.pem")) }, "Unable to access credentials"},
		{"bad key", nil, func(dir string) {
			cryptotest.WritePEM(t, filepath.Join(dir, "server-key.pem"), "PRIVATE KEY", []byte("x"))
		}, "Cannot load certificate"},
		{"no CA", nil, func(dir string) { _ = os.WriteFile(filepath.Join(dir, caFile), nil, 0o600) }, "Cannot load CA certificate"},
	} {
		dir := t.TempDir()
		p.Files(dir, "server", "host", c.change)
		if c.after != nil {
			c.after(dir)
		}
		_, err := creds(t, "endpoint=server,dir="+dir)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := creds(t, "dir=/nonexistent,priority=SECURE256"); err == nil || !strings.Contains(err.Error(), "cannot be honoured") {
		t.Errorf("priority: %v", err)
	}
	for _, name := range []string{"tls-creds-psk", "tls-creds-anon"} {
		var s object.Collection
		if err := s.Parse(name + ",id=x"); err == nil || !strings.Contains(err.Error(), name+"': ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key that openssl encrypted (openssl pkcs8 -topk8 -v2 aes-256-cbc).
func TestEncryptedKey(t *testing.T) {
	data, err := os.ReadFile("testdata/key-aes256.pem")
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{"hunter2": true, "hunter3": false, "": false} {
		out, err := decryptKey(data, []byte(password))
		if (err == nil) != want {
			t.Errorf("password %q: %v", password, err)
			continue
		}
		if want {
			block, _ := pem.Decode(out)
			if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
				t.Error(err)
			}
		}
	}
}

func FuzzEncryptedKey(f *testing.F) {
	if data, err := os.ReadFile("testdata/key-aes256.pem"); err == nil {
		block, _ := pem.Decode(data)
		f.Add(block.Bytes)
	}
	f.Fuzz(func(t *testing.T, der []byte) {

		if len(der) > 4096 {
			return
		}
		_, _ = decryptPKCS8(der, []byte("x"))
	})
}
