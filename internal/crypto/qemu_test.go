package crypto

import (
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"govmd/internal/crypto/cryptotest"
)

// qemu starts QEMU with a QMP monitor on a socket with TLS.
func qemu(t *testing.T, creds, socket string) {
	t.Helper()
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatalf("QEMU is what TLS is tried with: %v", err)
	}
	cmd := exec.Command(path, "-M", "none", "-S", "-nodefaults", "-display", "none",
		"-object", "tls-creds-x509,id=t,"+creds, "-chardev", "socket,id=c,tls-creds=t,"+socket, "-mon", "c,mode=control")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
}

const greeting = `{"QMP"`

// greeted returns an error unless QEMU's greeting comes over conn.
func greeted(conn net.Conn) (string, error) {
	buf := make([]byte, len(greeting))
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// dirFor makes a directory of credentials of which the authority is trusted's.
func dirFor(t *testing.T, end, name string, by, trusted *cryptotest.Authority) string {
	t.Helper()
	dir := t.TempDir()
	by.Files(dir, end, name, nil)
	cryptotest.WritePEM(t, filepath.Join(dir, caFile), "CERTIFICATE", trusted.Cert.Raw)
	return dir
}

// QEMU as a client takes a server of ours, whose certificate has a common name
// alone, and is taken if its own certificate is of the right authority.
func TestServesQEMU(t *testing.T) {
	p, stranger := cryptotest.New(t), cryptotest.New(t)
	for name, c := range map[string]struct {
		by   *cryptotest.Authority
		want string
	}{"known": {p, greeting}, "stranger": {stranger, ""}} {
		t.Run(name, func(t *testing.T) {
			server, err := creds(t, "endpoint=server,dir="+dirFor(t, "server", "localhost", p, p))
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := server.ServerTLS()
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			qemu(t, "endpoint=client,sanity-check=off,dir="+dirFor(t, "client", "me", c.by, p), "host=localhost,ipv6=off,port="+port)
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			got, err := greeted(tls.Server(conn, cfg))
			if got != c.want || c.want == "" && (err == nil || !strings.Contains(err.Error(), "unknown authority")) {
				t.Errorf("QEMU says %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// QEMU as a server takes a client of ours, which knows it by its common name.
func TestDialsQEMU(t *testing.T) {
	p := cryptotest.New(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0") // for a port that is free
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	qemu(t, "endpoint=server,dir="+dirFor(t, "server", "its.name", p, p), "server=on,wait=off,host=127.0.0.1,port="+port)
	client, err := creds(t, "endpoint=client,dir="+dirFor(t, "client", "me", p, p))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"its.name": greeting, "other.name": ""} {
		cfg, err := client.ClientTLS(host)
		if err != nil {
			t.Fatal(err)
		}
		conn := dial(t, addr)
		got, err := greeted(tls.Client(conn, cfg))
		_ = conn.Close() // QEMU serves one at a time
		if got != want || want == "" && (err == nil || !strings.Contains(err.Error(), "does not match the hostname")) {
			t.Errorf("%s says %q (%v), want %q", host, got, err, want)
		}
	}
}

// dial connects when somebody listens.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for end := time.After(20 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		}
		select {
		case <-retry.C:
		case <-end:
			t.Fatal(err)
		}
	}
}

// openssl encrypts what a secret decrypts.
func TestSecretFromOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl")
	}
	const key, iv = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "0f0e0d0c0b0a09080706050403020100"
	cmd := exec.Command(openssl, "enc", "-aes-256-cbc", "-a", "-K", key, "-iv", iv)
	cmd.Stdin = strings.NewReader("a long enough password, of more than a block")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	checkEncrypted(t, key, iv, string(out), "a long enough password, of more than a block")
}
