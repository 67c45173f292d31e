package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

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
	w := c.Response()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	stream := eventStream{w: w, control: http.NewResponseController(w), wants: wants}
	if err := stream.control.SetReadDeadline(time.Time{}); err != nil { // the server's limit is for requests, not for streams
		return err
	}
	if err := stream.write("id: " + sub.Position() + "\nevent: hello\ndata: {}\n\n"); err != nil {
		return nil //nolint:nilerr // the client has left
	}
	stream.follow(ctx, sub)
	return nil
}

type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	wants   func(twin.Event) bool
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

func (e *eventStream) follow(ctx context.Context, sub *twin.Subscription) {
	for {
		wait, cancel := context.WithTimeout(ctx, heartbeat)
		event, err := sub.Next(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, context.DeadlineExceeded):
			// An id on its own moves the place to resume from past what was filtered out.
			err = e.write("id: " + sub.Position() + "\nevent: idle\ndata: {}\n\n")
		case errors.Is(err, twin.ErrEventGone):
			_ = e.write("event: gone\ndata: {}\n\n") // the stream ends either way
			return
		case err == nil && e.wants(event):
			err = e.write(frame(event))
		}
		if err != nil {
			return
		}
	}
}

func frame(event twin.Event) string {
	data, _ := json.Marshal(event) // strings and numbers: can't fail
	return fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", event.ID, event.Kind, data)
}
