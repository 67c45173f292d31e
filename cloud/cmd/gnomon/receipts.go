package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/schema"
)

func receiptsCommand(o *options) *cobra.Command {
	var status string
	var version uint64
	c := &cobra.Command{
		Use:   "receipts THING [SHADOW]",
		Short: "Say of every desired value what became of it",
		Long: `Say of every desired value what became of it: pending, applied, failed or
rejected, since when, and with which error. SHADOW is the name of a named
shadow, such as app:web or collect:meter; without it the classic one is meant.
With --version it is what an earlier version of desired wrote, as far as the
history goes back; what a later one asks otherwise is superseded.`,
		Example: "  gnomon receipts gw-17 app:web\n  gnomon receipts gw-17 app:web --status failed -o json",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			q := url.Values{}
			if len(args) == 2 {
				q.Set("shadow", args[1])
			}
			if status != "" {
				q.Set("status", status)
			}
			if version > 0 {
				q.Set("version", strconv.FormatUint(version, 10))
			}
			ctx, cancel := s.limited(c.Context())
			defer cancel()
			return s.receipts(ctx, c.OutOrStdout(), "/v1/things/"+url.PathEscape(args[0])+"/receipts?"+q.Encode())
		},
	}
	c.Flags().StringVar(&status, "status", "", "only those that are pending, applied, failed, rejected or superseded")
	c.Flags().Uint64Var(&version, "version", 0, "of what this earlier version of desired wrote")
	return c
}

func (s *session) receipts(ctx context.Context, w io.Writer, path string) error {
	raw, err := s.Raw(ctx, path)
	if err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(w, s.format, raw)
	}
	var answer struct {
		Items []struct {
			schema.Receipt
			Value json.RawMessage `json:"value"`
		} `json:"items"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	rows := make([][]string, 0, len(answer.Items))
	for _, r := range answer.Items {
		why := ""
		if r.Code != "" {
			why = r.Code + ": " + r.Message
		}
		if r.SupersededBy > 0 {
			why = "by version " + strconv.FormatUint(r.SupersededBy, 10)
		}
		attempts := ""
		if r.Attempts > 0 {
			attempts = strconv.Itoa(r.Attempts)
		}
		rows = append(rows, []string{r.Path, clipped(string(r.Value)), string(r.Status), second(r.Asked), second(r.Applied), attempts, why})
	}
	return output.Rows(w, []string{"PATH", "VALUE", "STATUS", "ASKED", "APPLIED", "ATTEMPTS", "WHY"}, rows)
}

func second(at int64) string {
	if at == 0 {
		return ""
	}
	return time.Unix(at, 0).Format("2006-01-02 15:04:05")
}

// clipped keeps a value within a column.
func clipped(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return fmt.Sprint(string(r[:most-1]), "…")
	}
	return s
}
