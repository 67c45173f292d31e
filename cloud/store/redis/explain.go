package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
)

// remedies says what to do about what a server answers, by how the answer begins.
var remedies = []struct{ begins, remedy string }{
	{"NOPERM", "give the ACL user what cloud/store/redis/README.md lists"},
	{"WRONGPASS", "the server doesn't know this user with this password: check --store-user and --store-password-file, GNOMON_STORE_PASSWORD or the URL"},
	{"NOAUTH", "the server wants a password: give it with --store-password-file or GNOMON_STORE_PASSWORD"},
	{"ERR AUTH", "the server has no password set for this user: give none, or set one there"},
	{"OOM", "the server's maxmemory is reached: raise it, or delete what isn't needed"},
	{"MISCONF", "the server can't write its own disk: see its log"},
	{"NOREPLICAS", "fewer replicas follow the master than its min-replicas-to-write: start them"},
	{"ERR This instance has cluster support disabled", "the server is no member of a Cluster: use redis:// or rediss://"},
	{"MOVED", "the server is a member of a Cluster: use redis+cluster:// or rediss+cluster://"},
}

// explain adds to what a server answered what to do about it.
func explain(err error) error {
	if !isReply(err) {
		return err
	}
	for _, r := range remedies {
		if strings.HasPrefix(err.Error(), r.begins) {
			return fmt.Errorf("%w: %s", err, r.remedy)
		}
	}
	return err
}

// explainStart is explain for a server that was never reached before: its
// settings may be wrong.
func explainStart(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	text, remedy := err.Error(), ""
	switch {
	case isReply(err):
		return explain(err)
	case errors.As(err, &unknown):
		remedy = "name the file of the CA that signed the server's certificate with --store-ca"
	case errors.As(err, &name):
		remedy = "connect by a name in the server's certificate, or give that name with --store-server-name"
	case errors.As(err, &record):
		remedy = "the server doesn't speak TLS on this port: use its TLS port, or a URL that begins with redis"
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"), strings.Contains(text, "unknown certificate"),
		strings.Contains(text, "error decrypting message"): // how OpenSSL refuses a stranger's
		remedy = "the server wants a certificate it knows: give it with --store-cert and --store-key"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		remedy = "if the server listens with TLS on this port, use a URL that begins with rediss"
	case errors.Is(err, context.DeadlineExceeded):
		remedy = "nobody answers there; a server with no TLS on this port doesn't answer a URL that begins with rediss"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}
