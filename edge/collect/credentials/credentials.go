// Package credentials has what a node says of itself to devices and brokers it
// collects from: passwords and the like, in files of a directory on the node. A
// policy names one of the files, so that no secret is in a document, in the cloud,
// or on the way.
//
// It promises that a name never leads out of the directory, that a file that others
// on the node could read or have written is refused, and that nothing here prints
// what it holds. It keeps nothing: files are read when they are needed, so that
// what is changed there holds from the next connection on.
package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"gnomon/edge/collect"
)

// DefaultDir is where the files are unless the agent is told otherwise.
const DefaultDir = "/etc/gnomon/credentials"

// maxFile bounds a file.
const maxFile = 64 << 10

// Dir is a directory of credentials.
type Dir string

// Credentials are what one file says.
type Credentials struct {
	Community Secret `yaml:"community"` // of SNMP 1 and 2c

	User         string `yaml:"user"`         // of SNMP 3, or of a broker
	AuthProtocol string `yaml:"authProtocol"` // of SNMP 3: MD5, SHA, SHA224, SHA256, SHA384 or SHA512
	AuthPassword Secret `yaml:"authPassword"`
	PrivProtocol string `yaml:"privProtocol"` // of SNMP 3: DES, AES, AES192, AES256, AES192C or AES256C
	PrivPassword Secret `yaml:"privPassword"`
	Context      string `yaml:"context"` // of SNMP 3: the context that is asked; default that of the agent

	Password Secret `yaml:"password"` // of a broker
	TLS      bool   `yaml:"tls"`      // a broker is spoken to over TLS
	CA       string `yaml:"ca"`       // of a broker: a file with the certificates that are trusted, in place of the system's
	Cert     string `yaml:"cert"`     // of a broker: files with a certificate for us, and its key
	Key      string `yaml:"key"`
}

// Secret is text that isn't printed.
type Secret string

// Reveal returns the text itself, for whoever sends it.
func Reveal(s Secret) string { return string(s) }

// Format is for fmt, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue is for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText is for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

const hidden = "***"

// Read returns what the file of a name says. The error is a collect.ErrCredentials,
// and repeats nothing of the file.
func (d Dir) Read(name string) (Credentials, error) {
	c, err := d.read(name)
	if err != nil {
		return Credentials{}, fmt.Errorf("%w: %s: %w", collect.ErrCredentials, name, err)
	}
	return c, nil
}

func (d Dir) read(name string) (c Credentials, err error) {
	if d == "" {
		return c, errors.New("this node has no directory of credentials; start its agent with --credentials")
	}
	if name == "" || name[0] == '.' || filepath.Base(name) != name {
		return c, errors.New("no name of a file")
	}
	path := filepath.Join(string(d), name)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, fmt.Errorf("there is no such file in %s", d)
	case errors.Is(err, unix.ELOOP):
		return c, fmt.Errorf("%s is a link", path)
	case err != nil:
		return c, err
	}
	defer f.Close()
	if err := guarded(f, path); err != nil {
		return c, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return c, err
	}
	if len(text) > maxFile {
		return c, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if dec.Decode(&c) != nil {
		// The decoder would quote what it didn't understand.
		return Credentials{}, fmt.Errorf("%s is no list of community, user, authProtocol, authPassword, privProtocol, privPassword, context, password, tls, ca, cert and key in YAML", path)
	}
	return c, nil
}

// guarded makes sure that nobody else on the node can read or change a file.
func guarded(f *os.File, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	switch me := uint32(os.Geteuid()); {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%s is no regular file", path)
	case st.Uid != me && st.Uid != 0:
		return fmt.Errorf("%s belongs to user %d, and has to belong to root or to user %d", path, st.Uid, me)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%s can be read by others (mode %#o): chmod 600 %s", path, st.Mode&0o777, path)
	}
	return nil
}
