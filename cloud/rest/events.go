package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"gnomon/cloud/twin"
)

const eventsPath = "/v1/events"

// heartbeat is how often an idle stream says that it lives.
const heartbeat = 15 * time.Second

// events streams what changes (server-sent events, WHATWG HTML 9.2). It resumes
// after Last-Event-ID, and answers 410 when that event is no longer kept.
func (s *Server) events(c echo.Context) error {
	after := c.Request().Header.Get("Last-Event-ID")
	if q := c.QueryParam("after"); q != "" {
		after = q
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	sub, err := s.cfg.Shadows.Watch(s.principal(ctx), after)
	if errors.Is(err, twin.ErrEventGone) {
		return echo.NewHTTPError(http.StatusGone, "that event is no longer kept; read the shadows again and watch without Last-Event-ID")
	}
	if err != nil {
		return problem(err, false)
	}
	w := c.Response()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	stream := eventStream{w: w, control: http.NewResponseController(w), thing: c.QueryParam("thing"), shadow: c.QueryParam("shadow")}
	stream.anyShadow = !c.QueryParams().Has("shadow")
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
	w         http.ResponseWriter
	control   *http.ResponseController
	thing     string // only this one, unless ""
	shadow    string // only this one, unless anyShadow
	anyShadow bool
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

func (e *eventStream) wants(event twin.Event) bool {
	return (e.thing == "" || e.thing == event.Thing) && (e.anyShadow || e.shadow == event.Shadow)
}

func frame(event twin.Event) string {
	data, _ := json.Marshal(event) // strings and numbers: can't fail
	return fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", event.ID, event.Kind, data)
}

// documentEvents describes the stream, which huma doesn't serve, in the OpenAPI document.
func (s *Server) documentEvents() {
	text := &huma.Schema{Type: huma.TypeString}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: eventsPath, OperationID: "watch", Summary: "Follow changes of shadows",
		Parameters: []*huma.Param{
			{Name: "thing", In: "query", Schema: text, Description: "only of this thing"},
			{Name: "shadow", In: "query", Schema: text, Description: "only of this shadow; empty is the classic one"},
			{Name: "after", In: "query", Schema: text, Description: "as Last-Event-ID"},
			{Name: "Last-Event-ID", In: "header", Schema: text, Description: "resume after this event"},
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "server-sent events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: text}}},
			"410": {Description: "that event is no longer kept: read the shadows again and watch anew"},
		},
	})
}
