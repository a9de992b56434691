package crypto

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"govmd/internal/qmp"
)

// material is what the files of credentials contain.
type material struct {
	caPath, certPath string
	ca               []*x509.Certificate
	pool             *x509.CertPool
	crl              map[string]bool   // serial numbers that were revoked, nil without a list
	own              []tls.Certificate // one, or none for a client without
	files            map[string]time.Time
}

// maxFile bounds the files of credentials.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// changed reports whether a file is another than was read.
func (m *material) changed() bool {
	for path, when := range m.files {
		if st, err := os.Stat(path); err == nil && !st.ModTime().Equal(when) {
			return true
		}
	}
	return false
}

func (m *material) note(path string) {
	if st, err := os.Stat(path); err == nil {
		m.files[path] = st.ModTime()
	}
}

// load reads the directory.
func (c *X509) load() (*material, error) {
	certPath, keyPath := c.path(string(c.endpoint)+"-cert.pem"), c.path(string(c.endpoint)+"-key.pem")
	m := &material{caPath: c.path(caFile), certPath: certPath, pool: x509.NewCertPool(), files: map[string]time.Time{}}
	if err := readable(m.caPath); err != nil {
		return nil, err
	}
	if c.endpoint == Server {
		for _, p := range []string{certPath, keyPath} {
			if err := readable(p); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range []string{m.caPath, certPath, keyPath, c.path(crlFile)} {
		m.note(p)
	}
	if err := m.loadCA(); err != nil {
		return nil, err
	}
	if err := m.loadCRL(c.path(crlFile)); err != nil {
		return nil, err
	}
	_, certErr := os.Stat(certPath)
	_, keyErr := os.Stat(keyPath)
	if certErr != nil || keyErr != nil {
		return m, nil // a client may be nobody
	}
	own, err := loadPair(certPath, keyPath, c.password)
	if err != nil {
		return nil, qmp.Errorf("Cannot load certificate '%s' & key '%s': %w", certPath, keyPath, err)
	}
	m.own = []tls.Certificate{own}
	return m, nil
}

func (m *material) loadCA() error {
	data, err := readFile(m.caPath)
	if err == nil {
		m.ca, err = parseCertificates(data)
	}
	if err != nil {
		return qmp.Errorf("Cannot load CA certificate '%s': %w", m.caPath, err)
	}
	for _, c := range m.ca {
		m.pool.AddCert(c)
	}
	return nil
}

func (m *material) loadCRL(path string) error {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if block, _ := pem.Decode(data); block != nil {
			data = block.Bytes
		}
		var list *x509.RevocationList
		if list, err = x509.ParseRevocationList(data); err == nil {
			return m.takeCRL(path, list)
		}
	}
	return qmp.Errorf("Cannot load CRL '%s': %w", path, err)
}

func (m *material) takeCRL(path string, list *x509.RevocationList) error {
	m.crl = map[string]bool{}
	for _, e := range list.RevokedCertificateEntries {
		m.crl[e.SerialNumber.String()] = true
	}
	for _, ca := range m.ca {
		if list.CheckSignatureFrom(ca) == nil {
			return nil
		}
	}
	return qmp.Errorf("Cannot load CRL '%s': it is not signed by the CA of '%s'", path, m.caPath)
}

func parseCertificates(data []byte) (list []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return list, nil
}

func loadPair(certPath, keyPath string, password []byte) (tls.Certificate, error) {
	certPEM, err := readFile(certPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := readFile(keyPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	if keyPEM, err = decryptKey(keyPEM, password); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

// check finds mistakes in the files that would otherwise show when a peer
// refuses the connection, with no more to go by than that.
func (m *material) check(end Endpoint) error {
	now := time.Now()
	for _, c := range m.ca {
		if err := checkTimes(c, m.caPath, "The CA certificate", now); err != nil {
			return err
		}
		if err := checkCA(c, m.caPath); err != nil {
			return err
		}
	}
	if len(m.own) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(m.own[0].Certificate[0])
	if err != nil {
		return err
	}
	what, usage := "The server certificate", x509.ExtKeyUsageServerAuth
	if end == Client {
		what, usage = "The client certificate", x509.ExtKeyUsageClientAuth
	}
	if err := checkTimes(leaf, m.certPath, what, now); err != nil {
		return err
	}
	if leaf.BasicConstraintsValid && leaf.IsCA {
		return qmp.Errorf("The certificate %s basic constraints show a CA, but we need one for a %s", m.certPath, end)
	}
	const signs = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	if leaf.KeyUsage != 0 && leaf.KeyUsage&signs == 0 {
		return qmp.Errorf("Certificate %s usage does not permit digital signature", m.certPath)
	}
	if err := checkPurpose(leaf, usage, m.certPath, end); err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, der := range m.own[0].Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: m.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return qmp.Errorf("Our own certificate %s failed validation against %s: %s", m.certPath, m.caPath, whyInvalid(err))
	}
	return nil
}

func checkTimes(c *x509.Certificate, path, what string, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return qmp.Errorf("%s %s has expired", what, path)
	case now.Before(c.NotBefore):
		return qmp.Errorf("%s %s is not yet active", what, path)
	}
	return nil
}

func checkCA(c *x509.Certificate, path string) error {
	switch {
	case c.BasicConstraintsValid && !c.IsCA:
		return qmp.Errorf("The certificate %s basic constraints do not show a CA", path)
	case !c.BasicConstraintsValid:
		return qmp.Errorf("The certificate %s is missing basic constraints for a CA", path)
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return qmp.Errorf("Certificate %s usage does not permit certificate signing", path)
	}
	return nil
}

func checkPurpose(c *x509.Certificate, usage x509.ExtKeyUsage, path string, end Endpoint) error {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return nil
	}
	for _, u := range c.ExtKeyUsage {
		if u == usage || u == x509.ExtKeyUsageAny {
			return nil
		}
	}
	return qmp.Errorf("Certificate %s purpose does not allow use with a TLS %s", path, end)
}

// whyInvalid is the reason why a certificate is not valid, as others word it.
func whyInvalid(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "The certificate hasn't got a known issuer"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "The certificate has expired"
	}
	return err.Error()
}
