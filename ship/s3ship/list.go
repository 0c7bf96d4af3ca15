package s3ship

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// List implements ship.Lister, by ListObjectsV2, 1,000 objects a request.
func (b *Destination) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return b.ListAfter(ctx, prefix, "")
}

// ListAfter implements ship.ListerAfter, by StartAfter.
func (b *Destination) ListAfter(ctx context.Context, prefix, after string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		full, from := prefix, after
		if b.prefix != "" {
			full = b.prefix + "/" + prefix
			if after != "" {
				from = b.prefix + "/" + after
			}
		}
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{
			Bucket: &b.bucket, Prefix: optional(full), StartAfter: optional(from), ExpectedBucketOwner: b.owner(), RequestPayer: b.payer(),
		})
		last := "" // the previous key
		var course course
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err == nil {
				err = course.check("ListObjectsV2", aws.ToBool(page.IsTruncated), aws.ToString(page.NextContinuationToken), len(page.Contents))
			}
			// HTML parses as a listing without contents: an auditor would take the bucket for empty.
			if err == nil && aws.ToString(page.Name) == "" {
				err = errNoStore
			}
			if err != nil {
				yield(ship.Entry{}, b.fail("list", prefix, err))
				return
			}
			for _, o := range page.Contents {
				err := ctx.Err()
				if err == nil && aws.ToString(o.Key) <= last {
					err = errUnsorted
				}
				if err != nil {
					yield(ship.Entry{}, b.fail("list", prefix, err))
					return
				}
				last = aws.ToString(o.Key)
				key := b.below(last)
				if last <= from || key == "" || strings.HasPrefix(key, object.TempPrefix) {
					continue
				}
				if !yield(ship.Entry{Key: key, Size: aws.ToInt64(o.Size)}, nil) {
					return
				}
			}
		}
	}
}

// course checks that a listing makes progress. If a store says that there is more, but not where, the SDK ends or begins again; if it
// always names the same position, the SDK never ends.
type course struct {
	at    string // where the next page begins
	empty int    // pages without an entry, one after the other
}

// check judges a page with so many entries. more and next say whether and where the listing goes on. It returns an error if the listing
// cannot end.
func (c *course) check(request string, more bool, next string, entries int) error {
	if more && (next == "" || next == c.at) {
		return fmt.Errorf("the store says that there is more and not where it goes on: it does not know %s", request)
	}
	c.at = next
	if c.empty++; entries > 0 {
		c.empty = 0
	}
	if c.empty > maxEmptyPages {
		return ship.Permanent(fmt.Errorf("the store says that there is more, and %d answers had no key: its list does not end", c.empty))
	}
	return nil
}

// errUnsorted: an auditor goes through a listing and its own sorted list side by side, and would report keys as missing.
var errUnsorted = ship.Permanent(errors.New("the store does not list keys in byte order, as directory buckets (S3 Express One Zone) and Storj do not: " +
	"it takes deliveries and cannot be audited; deliver to a bucket that lists in order"))

// checkOrder warns if the first page of a listing is not in order: such a store would take deliveries for months before an audit finds
// out. Without permission to list, it does nothing.
func (b *Destination) checkOrder(ctx context.Context) {
	n := 0
	for _, err := range b.List(ctx, "") {
		if n++; errors.Is(err, errUnsorted) {
			b.o.Logger.Warn("s3ship: this destination cannot be audited; deliveries to it work: err says what an audit needs", "location", b.Location(), "err", err)
		}
		if err != nil || n == pageSize {
			return
		}
	}
}

// maxEmptyPages bounds consecutive answers without a key. A store that skips deleted objects may send some.
const maxEmptyPages = 1000

// pageSize is how many keys a store lists at most in one answer.
const pageSize = 1000
