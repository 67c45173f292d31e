package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/export"
)

const readingsExportPath = "/v1/readings/export"

// maxReadingsExports is how many exports of readings run at a time.
const maxReadingsExports = 4

// ReadingsExportInput asks for readings as a file.
type ReadingsExportInput struct {
	ReadingsWanted
	Format string `query:"format" enum:"csv,parquet,ndjson,influx" default:"csv" doc:"influx is its line protocol"`
}

// registerReadingsExport adds the operation. Its parameters are held to what those of
// a list are; one that isn't known could be a bound that was meant.
func (s *Server) registerReadingsExport() {
	huma.Register(s.api, huma.Operation{
		Method: http.MethodGet, Path: readingsExportPath, OperationID: "exportReadings", Summary: "Stream readings as a file",
		Description: "A value or missing value in each row, in the order of listReadings. An answer that is cut off ends without its last chunk.",
		Responses: map[string]*huma.Response{
			"200": {Description: "the file", Content: map[string]*huma.MediaType{
				"text/csv": {}, "application/vnd.apache.parquet": {}, "application/x-ndjson": {}, "text/plain": {},
			}},
			"429": {Description: "too many exports are under way"},
			"503": {Description: "this replica keeps no readings"},
		},
		RejectUnknownQueryParameters: true,
	}, s.exportReadings)
}

// exportReadings streams readings as a file. A few run at a time: each may read
// everything there is.
func (s *Server) exportReadings(ctx context.Context, in *ReadingsExportInput) (*huma.StreamResponse, error) {
	if err := in.span(time.Now()); err != nil {
		return nil, err
	}
	of, err := s.policiesOf(ctx, in.ReadingsOf, false)
	if err != nil {
		return nil, err
	}
	q := readings.Query{Policies: of, Meter: in.Meter, Item: in.Item, From: in.From, To: in.To}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		c := humaecho.UnwrapV4(hc)
		w := c.Response()
		err := s.streamReadings(w, c.Request(), q, export.Format(in.Format))
		switch {
		case err == nil:
		case w.Committed:
			s.cfg.Log.Warn("export of readings cut off", "error", err)
			panic(http.ErrAbortHandler) // the client must not take a part for the whole
		default:
			w.Header().Del("Content-Type")
			if err := refuse(c, err); err != nil {
				c.Error(err)
			}
		}
	}}, nil
}

func (s *Server) streamReadings(w http.ResponseWriter, r *http.Request, q readings.Query, format export.Format) error {
	select {
	case s.exportingReadings <- struct{}{}:
		defer func() { <-s.exportingReadings }()
	default:
		return newProblem(http.StatusTooManyRequests, fmt.Sprintf("%d exports of readings are under way; try again when one is over", cap(s.exportingReadings)))
	}
	ctx, cancel := s.untilClosing(r.Context())
	defer cancel()
	file, err := export.New(format, &patient{Writer: w, control: http.NewResponseController(w)})
	if err != nil {
		return newProblem(http.StatusBadRequest, err.Error())
	}
	w.Header().Set("Content-Type", format.ContentType())
	w.Header().Set("Cache-Control", "no-store")
	var failed error
	err = s.cfg.Readings.Walk(ctx, s.principal(ctx), q, func(of readings.Policy, r *readings.Row) bool {
		failed = file.Row(of, r)
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return readingsProblem(err)
	}
	return file.Close()
}
