package redis

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gnomon/cloud/store"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/cloud/store/storetest"
)

// recipe returns the rules of the user that README.md tells operators to make.
func recipe(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)ACL SETUSER gnomon on '>PASSWORD' (.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("README.md has no recipe")
	}
	return strings.Join(strings.Fields(strings.NewReplacer("'", "", "\\", "").Replace(string(found[1]))), " ")
}

func securityOf(s *redistest.Secure) Security {
	return Security{User: s.User, Password: s.Password, CA: s.CA, Cert: s.Cert, Key: s.Key}
}

// under is a URL under which there is nothing, within what the recipe allows.
func under(url func(string) string) string {
	return strings.Replace(empty(url), "prefix=", "prefix=gnomon:", 1)
}

func secureSuite(t *testing.T, sec Security, url func(string) string) {
	storetest.Run(t, func(t *testing.T) store.Store { return running(t, Config{URL: under(url), Security: sec}) })
	storetest.RunShared(t, func(t *testing.T) (a, b store.Store) {
		u := under(url)
		return running(t, Config{URL: u, Security: sec}), running(t, Config{URL: u, Security: sec, Queue: 4})
	})
}

// The user of the recipe can do all that the store does, over TLS, and nothing is
// refused that nobody tells of.
func TestConformanceSecure(t *testing.T) {
	secure := redistest.NewSecure(t, recipe(t))
	server := secure.Start(t)
	secureSuite(t, securityOf(secure), server.URL)
	if answer := server.Do("ACL", "LOG"); answer != "" {
		t.Errorf("refused: %s", answer)
	}
}

func TestConformanceClusterSecure(t *testing.T) {
	secure := redistest.NewSecure(t, recipe(t))
	cluster := secure.StartCluster(t)
	secureSuite(t, securityOf(secure), cluster.URL)
	for _, server := range cluster.Servers {
		if answer := server.Do("ACL", "LOG"); answer != "" {
			t.Errorf("refused: %s", answer)
		}
	}
}

func TestConformanceSentinelSecure(t *testing.T) {
	secure := redistest.NewSecure(t, recipe(t))
	sentinel := secure.StartSentinel(t)
	secureSuite(t, securityOf(secure), sentinel.URL)
}

// What can't work is refused when the store is opened, and said in a way that
// tells what to do.
func TestSecurityErrors(t *testing.T) {
	secure := redistest.NewSecure(t, recipe(t))
	server, plain := secure.Start(t), redistest.Start(t)
	good := securityOf(secure)
	other := securityOf(redistest.NewSecure(t, recipe(t)))
	with := func(change func(*Security)) Security {
		s := good
		change(&s)
		return s
	}
	url := under(server.URL)
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct {
		what string
		url  string
		sec  Security
		want string // part of the error; "" = it works
	}{
		{"as it should be", url, good, ""},
		{"password in a file", url, with(func(s *Security) { s.Password, s.PasswordFile = "", file(" "+good.Password+"\n") }), ""},
		{"user in the URL", strings.Replace(url, "://", "://gnomon@", 1), with(func(s *Security) { s.User = "" }), ""},
		{"user and password in the URL", strings.Replace(url, "://", "://gnomon:"+good.Password+"@", 1), with(func(s *Security) { s.User, s.Password = "", "" }), ""},
		{"server name", url, with(func(s *Security) { s.ServerName = "redis.test" }), ""},
		{"wrong password", url, with(func(s *Security) { s.Password = "no" }), "check --store-user and --store-password-file"},
		{"unknown user", url, with(func(s *Security) { s.User = "nobody" }), "check --store-user"},
		{"no password", url, Security{CA: good.CA, Cert: good.Cert, Key: good.Key}, "--store-password-file"},
		{"user without password", url, with(func(s *Security) { s.Password = "" }), "has no password"},
		{"unknown CA", url, with(func(s *Security) { s.CA = other.CA }), "--store-ca"},
		{"CA of the system", url, with(func(s *Security) { s.CA = "" }), "--store-ca"},
		{"wrong server name", url, with(func(s *Security) { s.ServerName = "elsewhere" }), "--store-server-name"},
		{"no client certificate", url, with(func(s *Security) { s.Cert, s.Key = "", "" }), "--store-cert"},
		{"certificate of another CA", url, with(func(s *Security) { s.Cert, s.Key = other.Cert, other.Key }), "--store-cert"},
		{"certificate without key", url, with(func(s *Security) { s.Key = "" }), "needs its key"},
		{"key of another certificate", url, with(func(s *Security) { s.Key = other.Key }), "client certificate"},
		{"no file", url, with(func(s *Security) { s.CA = "/nowhere/ca.pem" }), "/nowhere/ca.pem"},
		{"no certificates in the file", url, with(func(s *Security) { s.CA = good.Key }), "holds no certificate"},
		{"no password file", url, with(func(s *Security) { s.Password, s.PasswordFile = "", "/nowhere/pw" }), "/nowhere/pw"},
		{"empty password file", url, with(func(s *Security) { s.Password, s.PasswordFile = "", file("\n") }), "is empty"},
		{"two passwords", url, with(func(s *Security) { s.PasswordFile = file("x") }), "given twice"},
		{"two users", strings.Replace(url, "://", "://other@", 1), good, `the URL names user "other"`},
		{"plain to TLS", strings.Replace(url, "rediss", "redis", 1), Security{}, "rediss"},
		{"TLS to plain", strings.Replace(empty(plain.URL), "redis", "rediss", 1), with(func(s *Security) { s.User, s.Password = "", "" }), "no TLS on this port"},
		{"certificates without TLS", empty(plain.URL), good, "the URL must begin with rediss"},
		{"a cluster that is none", strings.Replace(empty(plain.URL), "redis://", "redis+cluster://", 1), Security{}, "use redis://"},
	} {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		s, err := Open(limited, Config{URL: tt.url, Security: tt.sec})
		cancel()
		if err == nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.what, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, which doesn't say %q", tt.what, err, tt.want)
		case err != nil && strings.Contains(err.Error(), good.Password):
			t.Errorf("%s: the error holds the password: %v", tt.what, err)
		}
	}
}

// A command that the user may not run is refused at once, not tried again, and
// the error names what is missing.
func TestForbiddenCommand(t *testing.T) {
	secure := redistest.NewSecure(t, recipe(t))
	server := secure.Start(t)
	s := running(t, Config{URL: under(server.URL), Security: securityOf(secure), RetryFor: time.Minute})
	key := store.Key{Thing: "x"}
	storetest.Put(t, s, store.Record{Key: key, Data: []byte("1")})
	for _, tt := range []struct{ take, give, names string }{
		{"-evalsha", "+evalsha", "evalsha"},
		{"resetkeys", "~gnomon:*", "key"},
	} {
		if answer := server.Do("ACL", "SETUSER", secure.User, tt.take); answer != "OK" {
			t.Fatal(answer)
		}
		err := submitAll(t, s, []store.Record{{Key: key, Data: []byte("2"), Base: store.SumOf([]byte("1"))}})()[0]
		if err == nil || errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), tt.names) || !strings.Contains(err.Error(), "cloud/store/redis/README.md") {
			t.Errorf("%s: %v", tt.take, err)
		}
		if answer := server.Do("ACL", "SETUSER", secure.User, tt.give); answer != "OK" {
			t.Fatal(answer)
		}
	}
	storetest.Put(t, s, store.Record{Key: key, Data: []byte("3")})
}

// A password that is changed, in the file and at the server, doesn't stop a store
// that runs.
func TestPasswordChanged(t *testing.T) {
	secure := redistest.NewSecure(t, recipe(t))
	server := secure.Start(t)
	sec := securityOf(secure)
	sec.Password, sec.PasswordFile = "", filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(sec.PasswordFile, []byte(secure.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	s := running(t, Config{URL: under(server.URL), Security: sec, RetryFor: 10 * time.Second})
	storetest.Put(t, s, store.Record{Key: store.Key{Thing: "x"}, Data: []byte("1")})
	if err := os.WriteFile(sec.PasswordFile, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, do := range [][]string{{"ACL", "SETUSER", secure.User, "resetpass", ">another"}, {"CLIENT", "KILL", "USER", secure.User}} {
		if answer := server.Do(do...); strings.HasPrefix(answer, "error") {
			t.Fatal(answer)
		}
	}
	storetest.Put(t, s, store.Record{Key: store.Key{Thing: "x"}, Data: []byte("2")})
	var network net.Error
	if err := s.Err(); errors.As(err, &network) {
		t.Error(err)
	}
}
