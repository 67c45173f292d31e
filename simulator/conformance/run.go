package conformance

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"gnomon/shadow/wire"
)

// answer is what came back for a request.
type answer struct {
	code int // 200, or the rejection's
	body []byte
	kind string // x-amzn-ErrorType, over HTTP
}

// client speaks about one shadow over one transport.
type client interface {
	do(ctx context.Context, op Op, body string) (answer, error)
	close()
}

func open(ctx context.Context, cfg Config, tr Transport, about wire.Topic) (client, error) {
	switch tr {
	case MQTT311:
		return openMQTT311(cfg, about)
	case MQTT5:
		return openMQTT5(ctx, cfg, about)
	default:
		return &httpClient{base: "http://" + cfg.HTTP, about: about}, nil
	}
}

// timeout of one case: far beyond what any of them takes.
const timeout = time.Minute

// oddShadow is as long and odd as the name of a shadow may be.
var oddShadow = "$aws:app_Z-9" + strings.Repeat("$", 52)

func subject(c Case, named bool) wire.Topic {
	about := wire.Topic{Thing: "t:_-" + rand.Text()}
	if named {
		about.Shadow = "shadow"
	}
	if c.LongNames {
		about.Thing += strings.Repeat("Z", 128-len(about.Thing))
		if named {
			about.Shadow = oddShadow
		}
	}
	return about
}

func runCase(t *testing.T, cfg Config, tr Transport, c Case, named bool) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	about := subject(c, named)
	watch, err := observe(ctx, cfg, about)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.close()
	cl, err := open(ctx, cfg, tr, about)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	for i, s := range c.steps(cfg) {
		if s.Op == "" {
			s.Op = Update
		}
		got, err := cl.do(ctx, s.Op, s.Body)
		if err != nil {
			t.Fatalf("step %d, %s %.200s: %v", i+1, s.Op, s.Body, err)
		}
		published, err := watch.since()
		if err != nil {
			t.Fatalf("step %d: observer: %v", i+1, err)
		}
		for _, problem := range s.check(got, published, tr, about) {
			t.Errorf("step %d, %s %.200s:\n%.4000v", i+1, s.Op, s.Body, problem)
		}
	}
}

// check says all that is wrong with what came of a step.
func (s Step) check(got answer, published messages, tr Transport, about wire.Topic) (problems []error) {
	note := func(what string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", what, err))
		}
	}
	if s.Code != 0 || got.code != 200 {
		note("rejected", s.checkRejection(got, tr, about))
		note("published", published.onlyRejection(s.Op, got, tr))
		return problems
	}
	if s.Want != "" {
		note("accepted", same(got.body, fill(s.Want, about)))
	}
	note("published", published.agree(s.Op, got, tr))
	note("delta", published.is("update/delta", fill(s.Delta, about)))
	note("documents", published.is("update/documents", fill(s.Documents, about)))
	return problems
}

func (s Step) checkRejection(got answer, tr Transport, about wire.Topic) error {
	if got.code != s.Code {
		return fmt.Errorf("code %d, want %d: %s", got.code, s.Code, got.body)
	}
	message, token, err := rejection(got, tr)
	if err != nil {
		return err
	}
	if want := fill(s.Message, about); message != want {
		return fmt.Errorf("message %q, want %q", message, want)
	}
	if tr != HTTP && token != s.Token {
		return fmt.Errorf("client token %q, want %q", token, s.Token)
	}
	return nil
}

func fill(text string, about wire.Topic) string {
	name := about.Shadow
	if name == "" {
		name = about.Thing
	}
	return strings.ReplaceAll(text, "{name}", name)
}
