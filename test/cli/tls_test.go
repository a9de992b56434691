package cli

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"govmd/internal/crypto/cryptotest"
)

// tlsClient is the configuration of one called name, of one without a certificate
// for "".
func tlsClient(a *cryptotest.Authority, name string) *tls.Config {
	cfg := &tls.Config{RootCAs: a.Pool(), ServerName: "vm"}
	if name != "" {
		cfg.Certificates = []tls.Certificate{a.Certificate(name, nil)}
	}
	return cfg
}

// A monitor on TLS serves whom it is told to, and nobody keeps it from the next.
func TestTLSMonitor(t *testing.T) {
	a, dir := cryptotest.New(t), t.TempDir()
	a.Files(dir, "server", "vm", func(c *x509.Certificate) { c.DNSNames = []string{"vm"} })
	p := begin(t, "-M", "none", "-qmp", qmpSocket,
		"-object", "tls-creds-x509,id=tls,dir="+dir+",endpoint=server,verify-peer=on",
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
		{"alice", tlsClient(a, "alice"), true},
		{"plain text", nil, false},
		{"somebody else", tlsClient(a, "bob"), false},
		{"nobody", tlsClient(a, ""), false},
		{"one of another authority", &tls.Config{
			InsecureSkipVerify: true, Certificates: []tls.Certificate{cryptotest.New(t).Certificate("alice", nil)},
		}, false},
		{"alice again", tlsClient(a, "alice"), true},
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
