package udprelay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// nftTime bounds one call of nft, which takes milliseconds.
const nftTime = 10 * time.Second

// errNoTable says that the table does not exist.
var errNoTable = errors.New("the table does not exist")

// runNFT runs nft, and returns what it prints.
func runNFT(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, nftTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nft", args...)
	cmd.Stdin = stdin
	cmd.WaitDelay = time.Second
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		if strings.Contains(said, "No such file or directory") && len(args) > 0 && args[0] == "list" {
			return nil, errNoTable
		}
		return nil, fmt.Errorf("nft %s: %w: %.500s", strings.Join(args, " "), err, said)
	}
	return out.Bytes(), nil
}

var counterText = regexp.MustCompile(`counter (\S+) \{[^}]*packets (\d+) bytes \d+`)

// parseCounters reads what nft list counters prints.
func parseCounters(text []byte) (map[string]uint64, error) {
	counters := map[string]uint64{}
	for _, m := range counterText.FindAllSubmatch(text, -1) {
		n, err := strconv.ParseUint(string(m[2]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("counter %s: %w", m[1], err)
		}
		counters[string(m[1])] = n
	}
	return counters, nil
}

var portsText = regexp.MustCompile(`numgen inc mod (\d+) offset (\d+)`)

// parsePorts returns the source ports that a listed table gives datagrams; false if it gives none.
func parsePorts(text []byte) (first, last int, ok bool) {
	m := portsText.FindSubmatch(text)
	if m == nil {
		return 0, 0, false
	}
	count, err := strconv.Atoi(string(m[1]))
	first, ferr := strconv.Atoi(string(m[2]))
	return first, first + count - 1, err == nil && ferr == nil && count > 0
}
