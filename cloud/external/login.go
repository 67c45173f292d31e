package external

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Login is how the cloud makes itself known to the broker, and the broker to the
// cloud. Files are read for each connection, so that what is in them can be
// renewed while the cloud runs.
type Login struct {
	Username     string
	Password     string // or PasswordFile, not both
	PasswordFile string // its text up to the end of the first line
	CA           string // file with the authorities that vouch for the broker; "" = those of the system
	Certificate  string // file with the cloud's certificate, and Key the one with its key; "" = none
	Key          string
}

// maxPassword is what MQTT has room for, in bytes.
const maxPassword = 65535

// validate also reads the files: what is wrong at the start is said at the start.
func (l *Login) validate(encrypted bool) error {
	switch {
	case !encrypted && (l.CA != "" || l.Certificate != "" || l.Key != ""):
		return fmt.Errorf("%w: certificates are of use over mqtts:// only", ErrConfig)
	case (l.Certificate == "") != (l.Key == ""):
		return fmt.Errorf("%w: a certificate needs its key, and a key its certificate", ErrConfig)
	case l.Password != "" && l.PasswordFile != "":
		return fmt.Errorf("%w: the password is given twice, itself and as a file", ErrConfig)
	case l.Username == "" && (l.Password != "" || l.PasswordFile != ""):
		return fmt.Errorf("%w: a password without a user name", ErrConfig)
	case len(l.Username) > maxPassword:
		return fmt.Errorf("%w: a user name of %d bytes: at most %d", ErrConfig, len(l.Username), maxPassword)
	}
	_, err := l.password()
	if err == nil && encrypted {
		_, err = l.tls("")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

func (l *Login) password() ([]byte, error) {
	if l.PasswordFile == "" {
		return []byte(l.Password), nil
	}
	text, err := os.ReadFile(l.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 || len(line) > maxPassword {
		return nil, fmt.Errorf("password: the first line of %s has %d bytes; must be from 1 to %d", l.PasswordFile, len(line), maxPassword)
	}
	return line, nil
}

func (l *Login) tls(server string) (*tls.Config, error) {
	c := &tls.Config{ServerName: server, MinVersion: tls.VersionTLS12}
	if l.CA != "" {
		text, err := os.ReadFile(l.CA)
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("authorities: %s holds no certificate in PEM", l.CA)
		}
	}
	if l.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(l.Certificate, l.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
