package redis

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ErrURL: the URL names no Redis.
var ErrURL = errors.New("must be redis://[user:password@]host:port/db, rediss:// for TLS, " +
	"redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/master")

// Default limits of one exchange with the server. They can be given in the URL
// as dial_timeout, read_timeout and write_timeout.
const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 5 * time.Second
)

const defaultPrefix = "gnomon"

// address is what a URL says.
type address struct {
	prefix  string
	cluster bool
	make    func(commits bool) goredis.UniversalClient
}

// parseURL reads the URL of a Config. Query parameters are go-redis's own, and
// prefix, which comes before every key.
func parseURL(cfg *Config) (address, error) {
	scheme, rest, ok := strings.Cut(cfg.URL, "://")
	if !ok {
		return address{}, ErrURL
	}
	hosts, path, user, query, err := split(rest)
	if err != nil {
		return address{}, err
	}
	a := address{prefix: defaultPrefix}
	if p := query.Get("prefix"); p != "" {
		if strings.ContainsAny(p, "{}") {
			return address{}, errors.New("prefix: must not hold braces, which would name a slot")
		}
		a.prefix = p
	}
	query.Del("prefix")
	u := url.URL{Scheme: "redis", User: user, Host: hosts[0]}
	if strings.HasPrefix(scheme, "rediss") {
		u.Scheme = "rediss"
	}
	kind := strings.Replace(scheme, "rediss", "redis", 1)
	sec, err := cfg.security(u.Scheme == "rediss", user, kind == "redis+sentinel")
	if err != nil {
		return address{}, err
	}
	switch kind {
	case "redis":
		if len(hosts) > 1 {
			return address{}, ErrURL
		}
		u.Path, u.RawQuery = path, query.Encode()
		err = a.alone(u.String(), sec)
	case "redis+cluster":
		if path != "" && path != "/" && path != "/0" {
			return address{}, errors.New("a cluster has no numbered databases")
		}
		query["addr"] = hosts[1:]
		u.RawQuery = query.Encode()
		err = a.several(u.String(), sec)
	case "redis+sentinel":
		master, db, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if master == "" {
			return address{}, ErrURL
		}
		query["addr"], query["master_name"] = hosts[1:], []string{master}
		u.Path, u.RawQuery = "/"+db, query.Encode()
		err = a.sentinel(u.String(), sec)
	default:
		return address{}, ErrURL
	}
	return a, err
}

// split takes the part behind the scheme apart: net/url knows one host only.
func split(rest string) (hosts []string, path string, user *url.Userinfo, query url.Values, err error) {
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	credentials := ""
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		credentials, authority = authority[:i+1], authority[i+1:]
	}
	u, err := url.Parse("redis://" + credentials + "host" + tail)
	if err != nil {
		return nil, "", nil, nil, ErrURL // the cause would quote the password
	}
	hosts = strings.Split(authority, ",")
	for _, h := range hosts {
		if h == "" || strings.ContainsAny(h, " @") {
			return nil, "", nil, nil, ErrURL
		}
	}
	return hosts, u.Path, u.User, u.Query(), nil
}

// The client for commits retries nothing by itself: the committer has to know
// which of its scripts may have run. It speaks RESP2, whose replies are cheaper to
// read because nothing comes in between them.

func (a *address) alone(text string, sec security) error {
	o, err := goredis.ParseURL(text)
	if err != nil {
		return fmt.Errorf("redis URL: %w", err)
	}
	limit(&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout)
	o.DialerRetries = 1 // whoever needs the connection tries again
	o.DisableIdentity = true
	o.MaintNotificationsConfig = quiet()
	o.TLSConfig = sec.over(o.TLSConfig)
	o.CredentialsProviderContext = sec.credentials
	a.make = func(commits bool) goredis.UniversalClient {
		own := *o
		if commits {
			own.MaxRetries, own.Protocol = -1, 2
		}
		return goredis.NewClient(&own)
	}
	return nil
}

// redirects is how often a command follows a slot that moves, and the pause
// before it does.
const (
	redirects     = 4
	redirectPause = time.Millisecond
)

func (a *address) several(text string, sec security) error {
	o, err := goredis.ParseClusterURL(text)
	if err != nil {
		return fmt.Errorf("redis URL: %w", err)
	}
	limit(&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout)
	o.DialerRetries = 1 // whoever needs the connection tries again
	o.DisableIdentity = true
	o.MaintNotificationsConfig = quiet()
	o.ClusterStateReloadInterval = 10 * time.Second
	o.TLSConfig = sec.over(o.TLSConfig)
	o.CredentialsProviderContext = sec.credentials
	a.cluster = true
	a.make = func(commits bool) goredis.UniversalClient {
		own := *o
		if commits {
			own.MaxRedirects, own.MaxRetries, own.Protocol = redirects, -1, 2
			own.MinRetryBackoff, own.MaxRetryBackoff = redirectPause, 8*redirectPause
		}
		return goredis.NewClusterClient(&own)
	}
	return nil
}

func (a *address) sentinel(text string, sec security) error {
	o, err := goredis.ParseFailoverURL(text)
	if err != nil {
		return fmt.Errorf("redis URL: %w", err)
	}
	limit(&o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout)
	o.DialerRetries = 1 // whoever needs the connection tries again
	o.DisableIdentity = true
	o.TLSConfig = sec.over(o.TLSConfig)
	o.CredentialsProviderContext = sec.credentials
	a.make = func(commits bool) goredis.UniversalClient {
		own := *o
		if commits {
			own.MaxRetries, own.Protocol = -1, 2
		}
		return goredis.NewFailoverClient(&own)
	}
	return nil
}

func limit(dial, read, write *time.Duration) {
	for _, d := range []struct {
		is  *time.Duration
		def time.Duration
	}{{dial, dialTimeout}, {read, ioTimeout}, {write, ioTimeout}} {
		if *d.is == 0 {
			*d.is = d.def
		}
	}
}

// quiet switches a handshake off that only Redis Enterprise answers.
func quiet() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// discard takes what go-redis would write to standard error, for all there is in
// it reaches us as errors.
type discard struct{}

func (discard) Printf(context.Context, string, ...any) {}

var silence = sync.OnceFunc(func() { goredis.SetLogger(discard{}) })
