package rest

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"
)

const exportPath = "/v1/export"

// Exporter writes every shadow as JSON lines, and as its last line how many they
// were, so that a stream which was cut off can be told from a whole one.
type Exporter func(ctx context.Context, w io.Writer) error

// export streams all shadows while the server works. One runs at a time: it
// reads everything there is.
func (s *Server) export(c echo.Context) error {
	if s.cfg.Export == nil {
		return echo.NewHTTPError(http.StatusNotFound, "this server has no store of its own to export")
	}
	select {
	case s.exporting <- struct{}{}:
		defer func() { <-s.exporting }()
	default:
		return echo.NewHTTPError(http.StatusTooManyRequests, "an export is under way; try again when it is over")
	}
	w := c.Response()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	out := &patient{Writer: w, control: http.NewResponseController(w)}
	if err := s.cfg.Export(c.Request().Context(), out); err != nil {
		s.cfg.Log.Warn("export cut off", "error", err)
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
	return nil
}

// patient gives the client a while for every piece.
type patient struct {
	io.Writer
	control *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	return p.Writer.Write(b)
}

func (s *Server) documentExport() {
	s.api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: exportPath, OperationID: "export", Summary: "Read every shadow as JSON lines, for a backup",
		Description: "Each line is one shadow as it was at one moment; the last line is {\"end\":true,\"shadows\":n}. `gnomon store import` reads it.",
		Responses: map[string]*huma.Response{
			"200": {Description: "JSON lines", Content: map[string]*huma.MediaType{"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString}}}},
			"429": {Description: "an export is under way"},
		},
	})
}
