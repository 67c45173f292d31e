package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"gnomon/cloud/broker"
	"gnomon/cloud/external"
	"gnomon/cloud/fanout"
	"gnomon/cloud/rest"
	"gnomon/cloud/trace"
	"gnomon/cloud/twin"
)

// messaging is how MQTT clients and the shadow service reach each other: by the
// embedded broker or through an external one.
type messaging struct {
	publisher  twin.Publisher
	topics     rest.Messages
	reachesAll bool                   // clients of all replicas
	listen     func() (string, error) // where clients find it
	run        func(context.Context) error
	ready      func() error
	listeners  func(topic string) (all, acknowledging int)   // nil: that can't be known
	join       func(*fanout.Fanout, local, *trace.Log) error // to the service, and to other replicas if there are any
}

// embedded is a broker of our own.
func (cfg *cloudConfig) embedded(log *slog.Logger, metrics prometheus.Registerer) (*messaging, error) {
	b, err := broker.New(broker.Config{Address: cfg.MQTT, MaxPacket: cfg.maxPacket(), Log: log, Metrics: metrics})
	if err != nil {
		return nil, err
	}
	return &messaging{
		publisher: b, topics: b, run: b.Run, listeners: b.Listeners,
		ready: func() error { return nil },
		listen: func() (string, error) {
			a, err := b.Listen()
			if err != nil {
				return "", err
			}
			return a.String(), nil
		},
		join: func(others *fanout.Fanout, here local, traces *trace.Log) error {
			b.SetShadows(here.shadows)
			b.SetReadings(here.taken)
			if err := b.Follow(traces); err != nil || others == nil {
				return err
			}
			others.SetLocal(here, b.TakeOver)
			return b.Announce(others.Connected)
		},
	}, nil
}

// maxPacket is in bytes, of what MQTT clients send.
func (cfg *cloudConfig) maxPacket() int { return max(256<<10, 4*cfg.StateLimit) }

// externalConfig is the part of the configuration about an external broker.
type externalConfig struct {
	URL     string // "" = the embedded one
	Client  string
	Group   string
	Topics  string
	Session time.Duration
	Login   external.Login
}

func (e *externalConfig) register(f *pflag.FlagSet) {
	f.StringVar(&e.URL, "broker", "", "URL of an MQTT 5 broker to serve shadows through, instead of the embedded one: mqtt://HOST:PORT, mqtts://HOST:PORT")
	f.StringVar(&e.Client, "broker-client", "", "client id there, the same at every start and another for each replica (default GROUP-HOSTNAME-PORT, with the port of --http)")
	f.StringVar(&e.Group, "broker-group", "gnomon", "group of its shared subscriptions, the same for all replicas")
	f.StringVar(&e.Topics, "broker-topics", string(external.TopicsBoth), "shadow topics to serve there: aws ($aws/things/…), plain (things/…) or both")
	f.DurationVar(&e.Session, "broker-session", 0, "how long it keeps requests for a replica that is away (default 1h, with --store 1m)")
	f.StringVar(&e.Login.Username, "broker-user", "", "user name there; its password is GNOMON_BROKER_PASSWORD in the environment, or")
	f.StringVar(&e.Login.PasswordFile, "broker-password-file", "", "file with the password")
	f.StringVar(&e.Login.CA, "broker-ca", "", "file with the authorities that vouch for it, in PEM (default those of the system)")
	f.StringVar(&e.Login.Certificate, "broker-cert", "", "file with the certificate to show it, in PEM")
	f.StringVar(&e.Login.Key, "broker-key", "", "file with that certificate's key, in PEM")
}

// validate finds what makes no sense beside the other flags.
func (e *externalConfig) validate(f *pflag.FlagSet) error {
	if e.URL != "" && f.Changed("mqtt") {
		return errors.New("--broker and --mqtt: with an external broker there is no embedded one; leave one of them out")
	}
	for _, name := range []string{"broker-client", "broker-group", "broker-topics", "broker-session", "broker-user", "broker-password-file", "broker-ca", "broker-cert", "broker-key"} {
		if e.URL == "" && f.Changed(name) {
			return fmt.Errorf("--%s: without --broker there is no external broker", name)
		}
	}
	if f.Changed("broker-session") && e.Session < time.Second {
		return fmt.Errorf("--broker-session %s: must be at least 1s", e.Session)
	}
	return nil
}

// external is somebody else's broker.
func (cfg *cloudConfig) external(log *slog.Logger, metrics prometheus.Registerer) (*messaging, error) {
	e := cfg.External
	if e.Login.Username != "" {
		e.Login.Password = os.Getenv("GNOMON_BROKER_PASSWORD") // not a flag: everybody on the machine reads those
	}
	if e.Session == 0 {
		e.Session = time.Hour
		if cfg.Shared.URL != "" {
			e.Session = time.Minute // the others go on meanwhile, without this one's share
		}
	}
	client, err := cfg.brokerClient()
	if err != nil {
		return nil, err
	}
	b, err := external.New(external.Config{
		URL: e.URL, ClientID: client, Group: e.Group, Topics: external.Topics(e.Topics), Login: e.Login, Alone: cfg.Shared.URL == "",
		SessionExpiry: e.Session, MaxPacket: cfg.maxPacket(), Log: log, Metrics: metrics,
	})
	if errors.Is(err, external.ErrConfig) {
		return nil, &usageError{fmt.Errorf("--broker: %w", err)}
	}
	if err != nil {
		return nil, err
	}
	return &messaging{
		publisher: b, topics: b, run: b.Run, ready: b.Ready, reachesAll: true,
		listen: func() (string, error) { return b.Address(), nil },
		join: func(others *fanout.Fanout, here local, _ *trace.Log) error {
			b.SetShadows(here.shadows)
			b.SetReadings(here.taken)
			if others != nil {
				others.SetLocal(here, func(string) {}) // a client's session is the broker's business
			}
			return nil
		},
	}, nil
}

// brokerClient is the client id that a replica has at an external broker.
func (cfg *cloudConfig) brokerClient() (string, error) {
	if cfg.External.Client != "" {
		return cfg.External.Client, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("--broker-client is needed, for the machine has no name: %w", err)
	}
	_, port, err := net.SplitHostPort(cfg.HTTP)
	if err != nil {
		return "", err
	}
	return cmp.Or(cfg.External.Group, "gnomon") + "-" + host + "-" + port, nil
}

// openMessaging returns what the configuration asks for, not connected yet.
func (cfg *cloudConfig) openMessaging(log *slog.Logger, metrics prometheus.Registerer) (*messaging, error) {
	if cfg.External.URL != "" {
		return cfg.external(log, metrics)
	}
	return cfg.embedded(log, metrics)
}
