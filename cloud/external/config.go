package external

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gnomon/cloud/identity"
)

// ErrConfig: a setting that can't work.
var ErrConfig = errors.New("external broker")

// Topics says which spelling of the shadow topics is served.
type Topics string

// The spellings.
const (
	TopicsBoth  Topics = "both"
	TopicsAWS   Topics = "aws"   // with $aws/ before
	TopicsPlain Topics = "plain" // without, for brokers that keep $ to themselves
)

// Config is what a Broker stands on. URL and ClientID are needed; other zero
// fields have the defaults given.
type Config struct {
	URL      string // mqtt://HOST[:1883] or mqtts://HOST[:8883]
	ClientID string // the same at every start, and no other replica's
	Group    string // of the shared subscriptions; default gnomon
	Topics   Topics // default both
	Login    Login
	Alone    bool // there are no other replicas: nothing has to be shared

	SessionExpiry time.Duration // how long the broker keeps requests while nobody is connected; default 1h

	Principal  identity.Principal // whom requests are made for; default identity.LocalOperator
	MaxPacket  int                // bytes of a request's packet; default 256 KiB
	InFlight   int                // requests under way; default 1024, at most 65535
	Queue      int                // messages that wait to be published; default 16384
	QueueBytes int                // their topics and payloads; default 32 MiB
	KeepAlive  time.Duration      // default 30s
	Timeout    time.Duration      // of a handshake, of a write, for an answer of the broker; default 10s
	BackoffMin time.Duration      // before the first reconnect; default 250ms
	BackoffMax time.Duration      // between reconnects; default 15s
	Log        *slog.Logger
	Metrics    prometheus.Registerer // nil: not exported
}

func (c Config) withDefaults() Config {
	setDefault(&c.Group, "gnomon")
	setDefault(&c.Topics, TopicsBoth)
	setDefault(&c.SessionExpiry, time.Hour)
	setDefault(&c.Principal, identity.LocalOperator)
	setDefault(&c.MaxPacket, 256<<10)
	setDefault(&c.InFlight, 1024)
	setDefault(&c.Queue, 16384)
	setDefault(&c.QueueBytes, 32<<20)
	setDefault(&c.KeepAlive, 30*time.Second)
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.BackoffMin, 250*time.Millisecond)
	setDefault(&c.BackoffMax, 15*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// maxName bounds a client id and the name of a group, in bytes.
const maxName = 128

// validName tells whether a name may be one of MQTT's and a level of a topic.
func validName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(".:_-", c) < 0 {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

func (c *Config) validate() error {
	switch {
	case !validName(c.ClientID):
		return fmt.Errorf("%w: client id %.200q: 1 to %d of a-z, A-Z, 0-9, ., :, _ and -", ErrConfig, c.ClientID, maxName)
	case !validName(c.Group):
		return fmt.Errorf("%w: group %.200q: 1 to %d of a-z, A-Z, 0-9, ., :, _ and -", ErrConfig, c.Group, maxName)
	case c.Topics != TopicsBoth && c.Topics != TopicsAWS && c.Topics != TopicsPlain:
		return fmt.Errorf("%w: topics %q: must be both, aws or plain", ErrConfig, c.Topics)
	case c.SessionExpiry < time.Second || c.SessionExpiry > 30*24*time.Hour:
		return fmt.Errorf("%w: a session of %s: must be from 1s to 720h", ErrConfig, c.SessionExpiry)
	case c.InFlight < 1 || c.InFlight > 65535:
		return fmt.Errorf("%w: %d requests under way: must be from 1 to 65535", ErrConfig, c.InFlight)
	}
	return nil
}

// address is where a broker is.
type address struct {
	hostPort string
	tls      bool
	server   string // the name that its certificate must have
}

func parseURL(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil {
		// The error repeats the text, which may hold a password.
		return address{}, fmt.Errorf("%w: not a URL; write mqtt://HOST:PORT or mqtts://HOST:PORT", ErrConfig)
	}
	port := map[string]string{"mqtt": "1883", "mqtts": "8883"}[u.Scheme]
	switch {
	case port == "":
		return address{}, fmt.Errorf("%w: %q: must begin with mqtt:// or mqtts://", ErrConfig, u.Redacted())
	case u.User != nil:
		return address{}, fmt.Errorf("%w: %q: user and password don't belong into the URL, where everybody on the machine reads them", ErrConfig, u.Redacted())
	case u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return address{}, fmt.Errorf("%w: %q: must be mqtt://HOST:PORT or mqtts://HOST:PORT, and nothing after it", ErrConfig, u.Redacted())
	}
	if p := u.Port(); p != "" {
		port = p
	}
	return address{net.JoinHostPort(u.Hostname(), port), u.Scheme == "mqtts", u.Hostname()}, nil
}
