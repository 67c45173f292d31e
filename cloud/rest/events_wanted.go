package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"gnomon/cloud/index"
	"gnomon/cloud/store"
	"gnomon/cloud/trace"
	"gnomon/cloud/twin"
)

const (
	eventsPath = "/v1/events"
	watchPath  = "/v1/watch"
)

// streaming tells whether what is at a path goes on for as long as the client
// likes. Such streams have bounds of their own.
func streaming(path string) bool {
	return path == eventsPath || path == watchPath || path == exportPath || path == readingsExportPath
}

// maxStreams is how many clients follow events at a time.
const maxStreams = 1024

// enter takes a place among the streams, or refuses.
func (s *Server) enter() (leave func(), err error) {
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams }, nil
	default:
		return nil, echo.NewHTTPError(http.StatusServiceUnavailable, "too many clients follow events already; try again")
	}
}

// untilClosing ends a stream's context with the server.
func (s *Server) untilClosing(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func resumeAfter(c echo.Context) string {
	if q := c.QueryParam("after"); q != "" {
		return q
	}
	return c.Request().Header.Get("Last-Event-ID")
}

// wanted returns what tells whether an event is asked for.
func (s *Server) wanted(c echo.Context) (func(twin.Event) bool, error) {
	query := c.QueryParams()
	if query.Has("kind") {
		return nil, newProblem(http.StatusBadRequest, fmt.Sprintf("kind is %q; it must be %q, for server-sent events, or left out", query.Get("kind"), trace.KindTrace))
	}
	thing, shadowName, anyShadow := query.Get("thing"), query.Get("shadow"), !query.Has("shadow")
	selected, err := s.filter(query.Get("selector"))
	if err != nil {
		return nil, err
	}
	return func(e twin.Event) bool {
		return (thing == "" || thing == e.Thing) && (anyShadow || shadowName == e.Shadow) &&
			(selected == nil || selected(store.Key{Thing: e.Thing, Shadow: e.Shadow}, e.Phase, e.Converged))
	}, nil
}

// filter reads a selector of events; nil selects all.
func (s *Server) filter(selector string) (index.Filter, error) {
	sel, err := index.ParseSelector(selector)
	if err != nil {
		return nil, queryProblem(err)
	}
	if len(sel) == 0 {
		return nil, nil
	}
	if s.cfg.Index == nil {
		return nil, errNoIndex
	}
	f, err := s.cfg.Index.Filter(sel)
	if err != nil {
		return nil, queryProblem(err)
	}
	return f, nil
}

// documentEvents describes the streams, which huma doesn't serve, in the OpenAPI document.
func (s *Server) documentEvents() {
	text := &huma.Schema{Type: huma.TypeString}
	kinds := &huma.Schema{Type: huma.TypeString, Enum: []any{trace.KindTrace}}
	params := []*huma.Param{
		{Name: "thing", In: "query", Schema: text, Description: "only of this thing"},
		{Name: "shadow", In: "query", Schema: text, Description: "only of this shadow; empty is the classic one"},
		{Name: "selector", In: "query", Schema: text, Description: "only what is selected after the change, by indexed keys but pendingFor; see listShadows"},
		{Name: "after", In: "query", Schema: text, Description: "as Last-Event-ID"},
		{Name: "Last-Event-ID", In: "header", Schema: text, Description: "resume after this event"},
	}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: eventsPath, OperationID: "watch", Summary: "Follow changes of shadows",
		Description: "With kind=trace, the steps of changes of desired as they happen instead, resumable in the same way: the data has " +
			"id, kind, thing, shadow, version, trace, step, at, after (milliseconds since the write) and text. The answers of explain have a position to begin after.",
		Parameters: append([]*huma.Param{{Name: "kind", In: "query", Schema: kinds, Description: "steps of changes instead of changes; only thing, shadow and after go with it"}}, params...),
		Responses: map[string]*huma.Response{
			"200": {Description: "server-sent events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: text}}},
			"400": {Description: "the selector is refused"},
			"410": {Description: "that event is no longer kept: read the shadows again and watch anew"},
			"503": {Description: "too many clients follow events"},
		},
	})
	s.api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: watchPath, OperationID: "watchSocket", Summary: "Follow changes of shadows by WebSocket",
		Description: "Each message is one event as JSON, as the data of the server-sent ones. The first has the kind hello, " +
			"and one of the kind idle comes now and then; both have only an id besides, to resume after. The server closes with " +
			"4410 when the event to resume after is no longer kept or the client is too slow, with 1001 when it ends. It takes no messages.",
		Parameters: params,
		Responses: map[string]*huma.Response{
			"101": {Description: "a WebSocket"},
			"400": {Description: "the selector is refused"},
			"426": {Description: "this is no WebSocket handshake"},
			"503": {Description: "too many clients follow events"},
		},
	})
}
