package redis

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
)

// Security is who the store is to the server, and how it knows the server. Files
// named by Password, Cert and Key are read for every new connection, so that they
// can be replaced while the store runs.
type Security struct {
	User         string // name of the ACL user; "" = the URL's, or default
	Password     string // "" = the URL's, or PasswordFile's
	PasswordFile string // holds the password; white space around it is left out
	CA           string // file of the certificates that servers' are signed with; "" = those of the system
	Cert, Key    string // files of the client's certificate and key; "" = none
	ServerName   string // in the servers' certificates; "" = the host that is connected to
}

// ErrSecurity: the settings for the server's user or TLS can't be used.
var ErrSecurity = errors.New("store security")

// security is what clients are made with.
type security struct {
	tls         *tls.Config // nil: no TLS
	credentials func(context.Context) (user, password string, err error)
}

// security puts settings and URL together. Behind Sentinel the URL's user is for
// the Sentinels.
func (cfg *Config) security(secure bool, user *url.Userinfo, sentinels bool) (security, error) {
	var sec security
	n := cfg.Security
	if !secure && (n.CA != "" || n.Cert != "" || n.Key != "" || n.ServerName != "") {
		return sec, fmt.Errorf("%w: certificates and server name are for TLS: the URL must begin with rediss", ErrSecurity)
	}
	if secure {
		c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: n.ServerName}
		if err := n.certificates(c); err != nil {
			return sec, err
		}
		sec.tls = c
	}
	var inURL bool
	var urlName, urlPassword string
	if user != nil && !sentinels {
		urlName = user.Username()
		urlPassword, inURL = user.Password()
	}
	given := n.Password != "" || n.PasswordFile != ""
	switch {
	case n.Password != "" && n.PasswordFile != "", inURL && given:
		return sec, fmt.Errorf("%w: the password is given twice; give it in one of the URL, a file and the environment", ErrSecurity)
	case urlName != "" && n.User != "" && urlName != n.User:
		return sec, fmt.Errorf("%w: the URL names user %q, the settings %q", ErrSecurity, urlName, n.User)
	case inURL:
		n.Password = urlPassword
	case !given && n.User != "":
		return sec, fmt.Errorf("%w: user %q has no password; give it in a file or the environment", ErrSecurity, n.User)
	case !given:
		return sec, nil
	}
	name := cmp.Or(n.User, urlName)
	sec.credentials = func(context.Context) (string, string, error) {
		password, err := n.password()
		return name, password, err
	}
	_, err := n.password() // what can't be read is said at the start
	return sec, err
}

func (n *Security) password() (string, error) {
	if n.PasswordFile == "" {
		return n.Password, nil
	}
	b, err := os.ReadFile(n.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("%w: password: %w", ErrSecurity, err)
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return "", fmt.Errorf("%w: password: %s is empty", ErrSecurity, n.PasswordFile)
	}
	return string(b), nil
}

// certificates reads what the settings name into c.
func (n *Security) certificates(c *tls.Config) error {
	if n.CA != "" {
		pem, err := os.ReadFile(n.CA)
		if err != nil {
			return fmt.Errorf("%w: CA: %w", ErrSecurity, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%w: CA: %s holds no certificate in PEM", ErrSecurity, n.CA)
		}
	}
	if (n.Cert == "") != (n.Key == "") {
		return fmt.Errorf("%w: a client certificate needs its key, and the key its certificate", ErrSecurity)
	}
	if n.Cert == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(n.Cert, n.Key); err != nil {
		return fmt.Errorf("%w: client certificate: %w", ErrSecurity, err)
	}
	cert, key := n.Cert, n.Key
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &pair, err
	}
	return nil
}

// over is the configuration instead of the one that go-redis has made of a URL,
// which would hold every member of a cluster to the name of the first.
func (s security) over(made *tls.Config) *tls.Config {
	if s.tls == nil || made == nil {
		return s.tls
	}
	c := s.tls.Clone()
	c.InsecureSkipVerify = made.InsecureSkipVerify //nolint:gosec // skip_verify in the URL, for trials; Open warns
	return c
}
