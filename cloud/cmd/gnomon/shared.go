package main

import (
	"os"

	"github.com/spf13/pflag"

	"gnomon/cloud/store/redis"
)

// sharedStore says which store replicas share, and how it is reached.
type sharedStore struct {
	URL string // "" = none
	redis.Security
}

// passwordVariable holds the password. There is no flag for it: whoever lists
// processes would see it.
const passwordVariable = "GNOMON_STORE_PASSWORD" //nolint:gosec // a name

// register adds the flags.
func (s *sharedStore) register(f *pflag.FlagSet) {
	f.StringVar(&s.URL, "store", s.URL, "URL of a Redis that replicas share, instead of a directory: redis://, redis+cluster://, redis+sentinel://, or with TLS rediss://, rediss+cluster://, rediss+sentinel://")
	f.StringVar(&s.User, "store-user", s.User, "user of the shared store")
	f.StringVar(&s.PasswordFile, "store-password-file", s.PasswordFile, "file that holds the user's password; or give it in "+passwordVariable)
	f.StringVar(&s.CA, "store-ca", s.CA, "file of the CA that signed the shared store's certificate (default: those of the system)")
	f.StringVar(&s.Cert, "store-cert", s.Cert, "file of a client certificate for the shared store")
	f.StringVar(&s.Key, "store-key", s.Key, "file of its key")
	f.StringVar(&s.ServerName, "store-server-name", s.ServerName, "name in the shared store's certificate, if it isn't the host")
}

// security adds what the environment alone may say. A file that is named wins,
// as flags do.
func (s *sharedStore) security() redis.Security {
	sec := s.Security
	if sec.PasswordFile == "" {
		sec.Password = os.Getenv(passwordVariable)
	}
	return sec
}
