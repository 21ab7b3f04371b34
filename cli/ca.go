package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// How long the lab's certificates last, and how long before their end they are made anew.
const (
	caLife    = 10 * 365 * 24 * time.Hour
	certLife  = 365 * 24 * time.Hour
	renewThen = 30 * 24 * time.Hour
)

// certificateName is who an office is to its partners.
func certificateName(office string) string { return "sip." + office + ".example" }

// pem is a file of the partner links.
func (l *lab) pem(name string) string { return filepath.Join(l.state, "tls", name) }

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// certificates makes the small CA of the partner links, and a certificate for each office; those that
// are there and good for a while stay.
func (l *lab) certificates() error {
	if err := os.MkdirAll(filepath.Join(l.state, "tls"), 0o700); err != nil {
		return err
	}
	ca, err := l.load("ca")
	fresh := err != nil
	if fresh {
		if ca, err = l.makeCA(); err != nil {
			return err
		}
	}
	for _, o := range labOffices {
		if have, err := l.load(o); fresh || err != nil || have.cert.CheckSignatureFrom(ca.cert) != nil {
			if err := l.issue(ca, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lab) makeCA() (*pair, error) {
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "siproam up"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	return l.sign("ca", tmpl, nil, caLife)
}

// issue makes an office's certificate: it names the office, and the address its partners dial.
func (l *lab) issue(ca *pair, office string) error {
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: certificateName(office)}, DNSNames: []string{certificateName(office)},
		IPAddresses: []net.IP{net.ParseIP(loopback)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	_, err := l.sign(office, tmpl, ca, certLife)
	return err
}

// sign completes tmpl, signs it (with itself when ca is nil) and keeps it with its key.
func (l *lab) sign(name string, tmpl *x509.Certificate, ca *pair, life time.Duration) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if tmpl.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(life)
	parent := &pair{cert: tmpl, key: key}
	if ca != nil {
		parent = ca
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := writePEM(l.pem(name+".key"), "PRIVATE KEY", secret, 0o600); err != nil {
		return nil, err
	}
	return &pair{cert, key}, writePEM(l.pem(name+".pem"), "CERTIFICATE", der, 0o644)
}

// load reads a pair that is still good for a while.
func (l *lab) load(name string) (*pair, error) {
	cert, err := readPEM(l.pem(name + ".pem"))
	if err != nil {
		return nil, err
	}
	secret, err := readPEM(l.pem(name + ".key"))
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(secret)
	if err != nil {
		return nil, err
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(c.PublicKey) {
		return nil, fmt.Errorf("%s: key and certificate do not match", name)
	}
	if time.Until(c.NotAfter) < renewThen {
		return nil, fmt.Errorf("%s: ends soon", name)
	}
	return &pair{c, key}, nil
}

func readPEM(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: not PEM", path)
	}
	return block.Bytes, nil
}

// writePEM replaces path, with mode from its first byte on.
func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
