package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gnomon/schema"
)

// Target is one instance that is to be probed.
type Target struct {
	App       string
	Instance  string // unique to one start
	StartedAt time.Time
	Host      string // where its ports are; "" = this node itself
	Probe     schema.Health
}

// same tells whether what was found of one target holds for another.
func (t Target) same(o Target) bool {
	return t.Instance == o.Instance && t.Host == o.Host &&
		equal(t.Probe.HTTP, o.Probe.HTTP) && equal(t.Probe.TCP, o.Probe.TCP) && slices.Equal(command(t), command(o))
}

func command(t Target) []string {
	if t.Probe.Exec == nil {
		return nil
	}
	return t.Probe.Exec.Command
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// local is the address of the node's own network.
const local = "127.0.0.1"

// maxAnswer bounds what is read of an answer, in bytes: its status is enough.
const maxAnswer = 64 << 10

// try asks once. The error says what was wrong, in a form that stays the same
// for as long as that does.
func (t Target) try(ctx context.Context, by Config) error {
	host := t.Host
	if host == "" {
		host = local
	}
	ctx, cancel := context.WithTimeout(ctx, t.Probe.Timeout.D())
	defer cancel()
	var err error
	switch {
	case t.Probe.HTTP != nil:
		err = tryHTTP(ctx, by.Dial, net.JoinHostPort(host, strconv.Itoa(t.Probe.HTTP.Port)), t.Probe.HTTP.Path)
	case t.Probe.TCP != nil:
		err = tryTCP(ctx, by.Dial, net.JoinHostPort(host, strconv.Itoa(t.Probe.TCP.Port)))
	case t.Probe.Exec != nil && by.Exec != nil:
		err = tryExec(ctx, by.Exec, t)
	default:
		return fmt.Errorf("it has nothing that could be probed here")
	}
	if err != nil && ctx.Err() == context.DeadlineExceeded { //nolint:errorlint // of a context it is that very value
		return fmt.Errorf("no answer within %s", t.Probe.Timeout)
	}
	return err
}

func tryTCP(ctx context.Context, dial Dial, address string) error {
	c, err := dial(ctx, "tcp", address)
	if err != nil {
		return plain(err)
	}
	return c.Close()
}

func tryHTTP(ctx context.Context, dial Dial, address, path string) error {
	rest, query, _ := strings.Cut(path, "?")
	u := url.URL{Scheme: "http", Host: address, Path: rest, RawQuery: query}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "gnomon-edge")
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return plain(err)
	}
	defer answer.Body.Close()
	// Read, so that a program that doesn't like to be hung up on isn't.
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return fmt.Errorf("GET %s: status %d", path, answer.StatusCode)
	}
	return nil
}

func tryExec(ctx context.Context, run Exec, t Target) error {
	said, status, err := run(ctx, t.App, t.Instance, t.Probe.Exec.Command)
	if err != nil || status == 0 {
		return err
	}
	said, _, _ = strings.Cut(strings.TrimSpace(said), "\n")
	if said = clip(strings.ToValidUTF8(said, "\uFFFD")); said != "" {
		said = ": " + said
	}
	return fmt.Errorf("%s: exit status %d%s", t.Probe.Exec.Command[0], status, said)
}

// plain takes the port of this side out of an error: it is another one each time.
func plain(err error) error {
	if op, ok := err.(*net.OpError); ok && op.Err != nil { //nolint:errorlint // only the outermost says both addresses
		where := ""
		if op.Addr != nil {
			where = " " + op.Addr.String()
		}
		return fmt.Errorf("%s%s: %w", op.Op, where, op.Err)
	}
	return err
}
