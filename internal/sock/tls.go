package sock

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// TLSCreds are credentials for connections with TLS; the object tls-creds-x509 is
// one. The configurations are made anew for each connection, so that renewed
// certificates are used.
type TLSCreds interface {
	// ServerTLS returns the configuration of a server; an error when the
	// credentials are a client's. Where the credentials say that clients are to
	// be verified it demands a certificate.
	ServerTLS() (*tls.Config, error)
	// ClientTLS returns the configuration of a client, which verifies that the
	// server is hostname; "" where there is none to verify. It is an error when
	// the credentials are a server's.
	ClientTLS(hostname string) (*tls.Config, error)
}

// Authz decides who may use a service; the objects authz-list and authz-simple
// are such.
type Authz interface {
	// Allows reports whether the client of that distinguished name may.
	Allows(identity string) (bool, error)
}

// ServeTLS makes conn, a client's, one with TLS. It waits for the handshake until
// ctx ends, and closes conn when it fails. authz may be nil.
func ServeTLS(ctx context.Context, conn net.Conn, creds TLSCreds, authz Authz) (*tls.Conn, error) {
	cfg, err := creds.ServerTLS()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	t := tls.Server(conn, cfg)
	if err = t.HandshakeContext(ctx); err == nil && authz != nil {
		err = authorize(t, authz)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake failed: %w", err)
	}
	return t, nil
}

func authorize(t *tls.Conn, authz Authz) error {
	certs := t.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return errors.New("No certificate was found, and the client has to be authorized")
	}
	name := certs[0].Subject.String()
	ok, err := authz.Allows(name)
	if err == nil && !ok {
		err = fmt.Errorf("TLS x509 authz check for %s is denied", name)
	}
	return err
}

// DialTLS makes conn, a connection to a server called hostname, one with TLS. It
// waits for the handshake until ctx ends, and closes conn when it fails.
func DialTLS(ctx context.Context, conn net.Conn, creds TLSCreds, hostname string) (*tls.Conn, error) {
	cfg, err := creds.ClientTLS(hostname)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake failed: %w", err)
	}
	return t, nil
}
