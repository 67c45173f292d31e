package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"gnomon/cloud/trace"
	"gnomon/cloud/twin"
)

// heartbeat is how often an idle stream says that it lives.
const heartbeat = 15 * time.Second

// events streams what changes (server-sent events, WHATWG HTML 9.2). It resumes
// after Last-Event-ID, and answers 410 when that event is no longer kept.
func (s *Server) events(c echo.Context) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := s.untilClosing(c.Request().Context())
	defer cancel()
	if c.QueryParam("kind") == trace.KindTrace {
		return s.traceEvents(ctx, c)
	}
	wants, err := s.wanted(c)
	if err != nil {
		return refuse(c, err)
	}
	sub, err := s.cfg.Shadows.Watch(s.principal(ctx), resumeAfter(c))
	if errors.Is(err, twin.ErrEventGone) {
		return echo.NewHTTPError(http.StatusGone, "that event is no longer kept; read the shadows again and watch without Last-Event-ID")
	}
	if err != nil {
		return refuse(c, problem(err, false))
	}
	return stream(ctx, c, sub.Position, func(ctx context.Context) (string, error) {
		event, err := sub.Next(ctx)
		if err != nil || !wants(event) {
			return "", err
		}
		return frame(event.ID, event.Kind, event), nil
	})
}

// stream sends what next gives, which is a frame, or "" for what isn't asked for,
// until the client leaves, ctx ends or what comes next is no longer kept.
func stream(ctx context.Context, c echo.Context, position func() string, next func(context.Context) (string, error)) error {
	w := c.Response()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := eventStream{w: w, control: http.NewResponseController(w)}
	if err := out.control.SetReadDeadline(time.Time{}); err != nil { // the server's limit is for requests, not for streams
		return err
	}
	if err := out.write("id: " + position() + "\nevent: hello\ndata: {}\n\n"); err != nil {
		return nil //nolint:nilerr // the client has left
	}
	out.follow(ctx, position, next)
	return nil
}

type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// write sends a piece. A client that doesn't take it within the time is let go.
func (e *eventStream) write(text string) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.control.Flush()
}

func (e *eventStream) follow(ctx context.Context, position func() string, next func(context.Context) (string, error)) {
	for {
		wait, cancel := context.WithTimeout(ctx, heartbeat)
		text, err := next(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, context.DeadlineExceeded):
			// An id on its own moves the place to resume from past what was filtered out.
			err = e.write("id: " + position() + "\nevent: idle\ndata: {}\n\n")
		case errors.Is(err, twin.ErrEventGone), errors.Is(err, trace.ErrGone):
			_ = e.write("event: gone\ndata: {}\n\n") // the stream ends either way
			return
		case err == nil && text != "":
			err = e.write(text)
		}
		if err != nil {
			return
		}
	}
}

func frame(id, kind string, event any) string {
	data, _ := json.Marshal(event) // strings, numbers and times: can't fail
	return fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", id, kind, data)
}
