package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/export"
)

const readingsExportPath = "/v1/readings/export"

// maxReadingsExports is how many exports of readings run at a time.
const maxReadingsExports = 4

// exportReadings streams readings as a file. A few run at a time: each may read
// everything there is.
func (s *Server) exportReadings(c echo.Context) error {
	format := export.Format(c.QueryParam("format"))
	if format == "" {
		format = export.CSV
	}
	wanted, err := wantedReadings(c)
	if err != nil {
		return refuse(c, err)
	}
	ctx, cancel := s.untilClosing(c.Request().Context())
	defer cancel()
	of, err := s.policiesOf(ctx, wanted.ReadingsOf, false)
	if err != nil {
		return refuse(c, err)
	}
	select {
	case s.exportingReadings <- struct{}{}:
		defer func() { <-s.exportingReadings }()
	default:
		return refuse(c, newProblem(http.StatusTooManyRequests, fmt.Sprintf("%d exports of readings are under way; try again when one is over", cap(s.exportingReadings))))
	}
	w := c.Response()
	out := &patient{Writer: w, control: http.NewResponseController(w)}
	file, err := export.New(format, out)
	if err != nil {
		return refuse(c, newProblem(http.StatusBadRequest, err.Error()))
	}
	w.Header().Set("Content-Type", format.ContentType())
	w.Header().Set("Cache-Control", "no-store")
	q := readings.Query{Policies: of, Meter: wanted.Meter, Item: wanted.Item, From: wanted.From, To: wanted.To}
	if err := s.writeReadings(ctx, q, file); err != nil {
		if !w.Committed {
			w.Header().Del("Content-Type")
			return refuse(c, readingsProblem(err))
		}
		s.cfg.Log.Warn("export of readings cut off", "error", err)
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
	return nil
}

func (s *Server) writeReadings(ctx context.Context, q readings.Query, file export.File) error {
	var failed error
	err := s.cfg.Readings.Walk(ctx, s.principal(ctx), q, func(of readings.Policy, r *readings.Row) bool {
		failed = file.Row(of, r)
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return file.Close()
}

// wantedReadings reads the query, as huma does for listReadings.
func wantedReadings(c echo.Context) (w ReadingsWanted, err error) {
	for name, to := range map[string]*string{"node": &w.Node, "policy": &w.Policy, "selector": &w.Selector, "meter": &w.Meter, "item": &w.Item} {
		*to = c.QueryParam(name)
	}
	for name, to := range map[string]*time.Time{"from": &w.From, "to": &w.To} {
		if text := c.QueryParam(name); text != "" {
			if *to, err = time.Parse(time.RFC3339, text); err != nil {
				return w, newProblem(http.StatusBadRequest, fmt.Sprintf("%s is %.40q; it must be a time such as 2026-11-21T00:00:00Z", name, text))
			}
		}
	}
	for name := range c.QueryParams() {
		switch name {
		case "format", "node", "policy", "selector", "meter", "item", "from", "to":
		default:
			return w, newProblem(http.StatusBadRequest, fmt.Sprintf("%.40q is no parameter of this; there are format, node, policy, selector, meter, item, from and to", name))
		}
	}
	return w, w.span(time.Now())
}

func (s *Server) documentReadingsExport() {
	text := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: readingsExportPath, OperationID: "exportReadings", Summary: "Stream readings as a file",
		Description: "A value or missing value in each row, in the order of listReadings. An answer that is cut off ends without its last chunk.",
		Parameters: []*huma.Param{
			{Name: "format", In: "query", Description: "csv (default), parquet, ndjson, or influx (line protocol)", Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"csv", "parquet", "ndjson", "influx"}}},
			text("node", "only of this node"), text("policy", "only of policies with this name"), text("selector", "only of policies that are selected, as for listShadows"),
			text("meter", "only of this meter"), text("item", "only this item"), text("from", "as for listReadings"), text("to", "as for listReadings"),
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "the file", Content: map[string]*huma.MediaType{
				"text/csv": {}, "application/vnd.apache.parquet": {}, "application/x-ndjson": {}, "text/plain": {},
			}},
			"429": {Description: "too many exports are under way"},
			"503": {Description: "this replica keeps no readings"},
		},
	})
}
