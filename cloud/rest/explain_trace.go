package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"gnomon/cloud/trace"
	"gnomon/shadow/wire"
)

// trace gives every write the trace it came with (W3C Trace Context), or a new
// one, and says which in the answer.
func (s *Server) trace(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			return next(c)
		}
		parent := trace.ParentOr(r.Header.Get(wire.TraceProperty))
		c.Response().Header().Set(wire.TraceProperty, parent)
		c.SetRequest(r.WithContext(trace.With(r.Context(), trace.Origin{Parent: parent, Door: trace.HTTP})))
		return next(c)
	}
}

// traceOf is the trace id of a write, for the log.
func traceOf(c echo.Context) string {
	id, _ := wire.TraceID(c.Response().Header().Get(wire.TraceProperty))
	return id
}

// traceEvents streams the steps of changes.
func (s *Server) traceEvents(ctx context.Context, c echo.Context) error {
	query := c.QueryParams()
	thing, shadowName, anyShadow := query.Get("thing"), query.Get("shadow"), !query.Has("shadow")
	if query.Has("selector") {
		return refuse(c, newProblem(http.StatusBadRequest, "steps of changes can't be selected: give thing and shadow, or follow changes without kind"))
	}
	sub, err := s.cfg.Traces.Watch(resumeAfter(c))
	if errors.Is(err, trace.ErrGone) {
		return echo.NewHTTPError(http.StatusGone, "that step is no longer kept; ask explain again and watch after its position")
	}
	return stream(ctx, c, sub.Position, func(ctx context.Context) (string, error) {
		e, err := sub.Next(ctx)
		if err != nil || thing != "" && thing != e.Thing || !anyShadow && shadowName != e.Shadow {
			return "", err
		}
		return frame(e.ID, e.Kind, e), nil
	})
}
