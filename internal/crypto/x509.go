package crypto

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"govmd/internal/object"
	"govmd/internal/qmp"
)

// Endpoint is which end of a connection credentials are for.
type Endpoint string

// The endpoints.
const (
	Client Endpoint = "client"
	Server Endpoint = "server"
)

// EnumValues lists the endpoints.
func (Endpoint) EnumValues() []string { return []string{string(Client), string(Server)} }

// X509 are credentials of certificates in a directory: ca-cert.pem, what peers'
// are checked against; optionally ca-crl.pem, those that were revoked; and
// server-cert.pem with server-key.pem or client-cert.pem with client-key.pem, its
// own, which a client may be without.
type X509 struct {
	object.Node
	dir, priority, passwordID string
	endpoint                  Endpoint
	verifyPeer, sanityCheck   bool

	password []byte // of the key

	mu   sync.Mutex // guards pair
	pair *material
}

// Files of the directory.
const (
	caFile  = "ca-cert.pem"
	crlFile = "ca-crl.pem"
)

// Complete reads the credentials and checks them.
func (c *X509) Complete(others *object.Collection) error {
	if c.dir == "" {
		return qmp.Errorf("Missing 'dir' property value")
	}
	if c.priority != "" && c.priority != "NORMAL" {
		return qmp.Errorf("priority=%s cannot be honoured: TLS 1.2 and 1.3 are used with the cipher suites "+
			"that are thought to be safe; leave priority out, or give NORMAL", c.priority)
	}
	if c.passwordID != "" {
		s, err := FindSecret(others, c.passwordID)
		if err != nil {
			return err
		}
		c.password = bytes.Clone(s.Bytes()) // the secret may go
	}
	m, err := c.load()
	if err != nil {
		return err
	}
	if c.sanityCheck {
		if err := m.check(c.endpoint); err != nil {
			return err
		}
	}
	c.pair = m
	return nil
}

// current returns the credentials as they are now. When what is in the
// directory cannot be used, those before it are.
func (c *X509) current() *material {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair.changed() {
		if m, err := c.load(); err == nil {
			c.pair = m
		}
	}
	return c.pair
}

// ServerTLS returns the configuration of a server.
func (c *X509) ServerTLS() (*tls.Config, error) {
	if c.endpoint != Server {
		return nil, qmp.Errorf("Expected TLS credentials for a server endpoint")
	}
	m := c.current()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: m.own, ClientCAs: m.pool}
	if c.verifyPeer {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return m.revoked(s.VerifiedChains) }
	}
	return cfg, nil
}

// ClientTLS returns the configuration of a client, which verifies that the
// server is hostname unless that is empty. The name may be that of the
// certificate's subject, where it has no other.
func (c *X509) ClientTLS(hostname string) (*tls.Config, error) {
	if c.endpoint != Client {
		return nil, qmp.Errorf("Expected TLS credentials for a client endpoint")
	}
	m := c.current()
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: m.own, ServerName: hostname,
		// The library knows no names but alternative ones: we verify, with its means.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if !c.verifyPeer {
				return nil
			}
			return m.verifyServer(s.PeerCertificates, hostname)
		},
	}, nil
}

// verifyServer verifies a server's certificates, its own first.
func (m *material) verifyServer(certs []*x509.Certificate, hostname string) error {
	if len(certs) == 0 {
		return errors.New("No certificate was found")
	}
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots: m.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return err
	}
	if err := m.revoked(chains); err != nil {
		return err
	}
	if hostname == "" {
		return nil
	}
	return checkHostname(certs[0], hostname)
}

// checkHostname reports whether the certificate is that of the host. Only one
// without alternative names is known by the name of its subject.
func checkHostname(c *x509.Certificate, hostname string) error {
	if len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses)+len(c.URIs) == 0 && c.Subject.CommonName != "" {
		named := *c
		named.DNSNames = []string{c.Subject.CommonName}
		if named.VerifyHostname(hostname) == nil || c.Subject.CommonName == hostname { // an address may be a name
			return nil
		}
		return qmp.Errorf("Certificate does not match the hostname %s", hostname)
	}
	if c.VerifyHostname(hostname) != nil {
		return qmp.Errorf("Certificate does not match the hostname %s", hostname)
	}
	return nil
}

// revoked returns an error when a certificate of every chain was revoked.
func (m *material) revoked(chains [][]*x509.Certificate) error {
	if m.crl == nil {
		return nil
	}
	for _, chain := range chains {
		bad := false
		for _, c := range chain {
			bad = bad || m.crl[c.SerialNumber.String()]
		}
		if !bad {
			return nil
		}
	}
	return errors.New("The certificate has been revoked")
}

// Close forgets the key's password.
func (c *X509) Close() { clear(c.password) }

func (c *X509) path(name string) string { return filepath.Join(c.dir, name) }

// readable returns an error when a file is not there.
func readable(path string) error {
	if _, err := os.Stat(path); err != nil {
		return qmp.Errorf("Unable to access credentials %s: %s", path, qmp.Strerror(err))
	}
	return nil
}

func init() {
	object.Register(object.Type{Name: "tls-creds", Abstract: true})
	object.Register(object.Type{
		Name: "tls-creds-x509", Parent: "tls-creds", UserCreatable: true, Description: "credentials of certificates for TLS",
		New: func() object.Object { return &X509{} },
		Props: []object.Property{
			object.Bool("verify-peer", func(c *X509) *bool { return &c.verifyPeer }, true, ""),
			object.As("string", object.Str("dir", func(c *X509) *string { return &c.dir }, "", "")),
			object.Enum("endpoint", "QCryptoTLSCredsEndpoint", []Endpoint{Client, Server},
				func(c *X509) *Endpoint { return &c.endpoint }, Client, ""),
			object.As("string", object.Str("priority", func(c *X509) *string { return &c.priority }, "", "")),
			object.Bool("sanity-check", func(c *X509) *bool { return &c.sanityCheck }, true, ""),
			object.As("string", object.Str("passwordid", func(c *X509) *string { return &c.passwordID }, "", "")),
			object.Getter("loaded", "bool", func(c *X509) any { return c.pair != nil }, ""),
		},
	})
	const use = "TLS works with certificates here, tls-creds-x509"
	object.Refuse("tls-creds-psk", "there are no pre-shared keys: "+use)
	object.Refuse("tls-creds-anon", "a connection with nobody in particular is not safe: "+use)
}
