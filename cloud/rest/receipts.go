package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/store"
	"gnomon/schema"
)

// ReceiptsInput names a shadow and what receipts of it.
type ReceiptsInput struct {
	Thing  string               `path:"thing" pattern:"^[a-zA-Z0-9:_-]{1,128}$"`
	Shadow string               `query:"shadow" doc:"a named shadow, such as app:web; without it the classic one" pattern:"^[$a-zA-Z0-9:_-]{0,64}$"`
	Status schema.ReceiptStatus `query:"status" doc:"only these" enum:"pending,applied,failed,rejected"`
}

// Receipts are those of one shadow at one version.
type Receipts struct {
	Thing          string           `json:"thing"`
	Shadow         string           `json:"shadow,omitempty"`
	Version        uint64           `json:"version"`
	DesiredVersion uint64           `json:"desiredVersion"`
	Items          []schema.Receipt `json:"items"`
}

type receiptsOutput struct {
	ETag string `header:"ETag"`
	Body *Receipts
}

func (s *Server) registerReceipts() {
	huma.Register(s.api, huma.Operation{
		Method: http.MethodGet, Path: "/v1/things/{thing}/receipts", OperationID: "receipts",
		Summary: "Say of every desired value what became of it",
	}, s.receipts)
}

func (s *Server) receipts(ctx context.Context, in *ReceiptsInput) (*receiptsOutput, error) {
	d, err := s.cfg.Shadows.Get(ctx, s.principal(ctx), store.Key{Thing: in.Thing, Shadow: in.Shadow})
	if err != nil {
		return nil, problem(err, false)
	}
	out := &Receipts{Thing: in.Thing, Shadow: in.Shadow, Version: d.Version, DesiredVersion: d.DesiredVersion, Items: []schema.Receipt{}}
	for _, r := range schema.ReceiptsOf(in.Shadow, d) {
		if in.Status == "" || in.Status == r.Status {
			out.Items = append(out.Items, r)
		}
	}
	return &receiptsOutput{ETag: etag(d.Version), Body: out}, nil
}
