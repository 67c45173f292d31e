package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Secure is what servers with TLS and users are started with. They take no
// client without a certificate of this CA, have no port without TLS, and know
// the administrator, who has the default user, and User, who may do what the
// rules say and nothing else.
type Secure struct {
	CA             string // file of the CA's certificate
	Cert, Key      string // files of a client's certificate
	User, Password string

	dir string
}

const adminPassword = "admin-secret"

// NewSecure makes a CA and certificates, for as long as the test lasts. rules are
// those of ACL SETUSER.
func NewSecure(t testing.TB, rules string) *Secure {
	t.Helper()
	dir := t.TempDir()
	s := &Secure{dir: dir, User: "gnomon", Password: "gnomon-secret"}
	s.CA, s.Cert, s.Key = s.file("ca.pem"), s.file("client.pem"), s.file("client.key")
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey := s.certificate(t, "ca", ca, ca, nil)
	s.certificate(t, "server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"redis.test"}}, ca, caKey)
	s.certificate(t, "client", &x509.Certificate{}, ca, caKey)
	acl := "user default on >" + adminPassword + " ~* &* +@all\nuser " + s.User + " on >" + s.Password + " " + rules + "\n"
	if err := os.WriteFile(s.file("users.acl"), []byte(acl), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Secure) file(name string) string { return filepath.Join(s.dir, name) }

// certificate writes a certificate and its key, signed by parent or by itself.
func (s *Secure) certificate(t testing.TB, name string, c, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(s.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

// listen is how a server, or a Sentinel, listens on a port; without s in plain
// text.
func (s *Secure) listen(port string) []string {
	if s == nil {
		return []string{"--port", port}
	}
	return []string{
		"--port", "0", "--tls-port", port, "--tls-auth-clients", "yes", "--tls-replication", "yes",
		"--tls-ca-cert-file", s.CA, "--tls-cert-file", s.file("server.pem"), "--tls-key-file", s.file("server.key"),
	}
}

// users is the configuration of a server's users.
func (s *Secure) users() []string {
	if s == nil {
		return nil
	}
	return []string{"--aclfile", s.file("users.acl"), "--masterauth", adminPassword}
}

// cli is how redis-cli connects as the administrator; to a Sentinel, which has no
// users, with TLS only.
func (s *Secure) cli(sentinel bool) []string {
	if s == nil {
		return nil
	}
	args := []string{"--tls", "--cacert", s.CA, "--cert", s.Cert, "--key", s.Key}
	if !sentinel {
		args = append(args, "--no-auth-warning", "-a", adminPassword)
	}
	return args
}

// scheme begins a URL.
func (s *Secure) scheme() string {
	if s == nil {
		return "redis"
	}
	return "rediss"
}

// Start starts a server.
func (s *Secure) Start(t testing.TB, args ...string) *Server { t.Helper(); return start(t, s, args...) }

// StartCluster starts a cluster.
func (s *Secure) StartCluster(t testing.TB) *Cluster { t.Helper(); return startCluster(t, s) }

// StartSentinel starts a master with a replica, watched by a Sentinel.
func (s *Secure) StartSentinel(t testing.TB) *Sentinel { t.Helper(); return startSentinel(t, s) }
