package udprelay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// nftTime bounds one call of nft, which takes milliseconds.
const nftTime = 10 * time.Second

// errNoTable means that the table does not exist.
var errNoTable = errors.New("the table does not exist")

// runNFT runs nft with arguments and, if not nil, commands as its input, and returns its output.
func runNFT(ctx context.Context, commands []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, nftTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nft", args...)
	if commands != nil {
		// This is not a pipe: if this process were killed while it wrote to one, nft would execute the part that it had
		// read.
		f, err := memoryFile(commands)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	cmd.WaitDelay = time.Second
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		if strings.HasPrefix(said, "Error: No such file or directory") && len(args) > 0 && args[0] == "list" {
			return nil, errNoTable
		}
		return nil, fmt.Errorf("nft %s: %w: %.500s", strings.Join(args, " "), err, said)
	}
	return out.Bytes(), nil
}

// refused reports whether nft itself returned an error: it was not killed and did not time out.
func refused(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() > 0
}

// isOwn reports whether an engine, of any version, has made a table that nft lists.
func isOwn(text []byte) bool {
	for _, part := range []string{"\tcounter " + inCounter + " {", "\tcounter " + noTargetCounter + " {", "\tmap out4 {", "\tchain spread4 {"} {
		if !bytes.Contains(text, []byte(part)) {
			return false
		}
	}
	return true
}

var tableText, countedText = regexp.MustCompile(`^table (\S+ \S+) \{`), regexp.MustCompile(`"?(` + outPrefix + `[^\s",}]+)`)

// parseCounted returns which targets each engine's table counts, from the output of nft list maps. It omits the tables of other
// programs.
func parseCounted(text []byte) map[string]map[netip.AddrPort]bool {
	tables := map[string]map[netip.AddrPort]bool{}
	var table string
	for line := range bytes.Lines(text) {
		if m := tableText.FindSubmatch(line); m != nil {
			table = string(m[1])
		}
		if bytes.HasPrefix(line, []byte("\tmap out4 {")) {
			tables[table] = map[netip.AddrPort]bool{}
		}
		for _, m := range countedText.FindAllSubmatch(line, -1) {
			if t, ok := targetOf(string(m[1])); ok && tables[table] != nil {
				tables[table][t] = true
			}
		}
	}
	return tables
}

var counterText = regexp.MustCompile(`counter (\S+) \{[^}]*packets (\d+) bytes \d+`)

// parseCounters parses the output of nft list counters.
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

// parsePorts returns the source ports that a listed table sets; false if it sets none.
func parsePorts(text []byte) (first, last int, ok bool) {
	m := portsText.FindSubmatch(text)
	if m == nil {
		return 0, 0, false
	}
	count, err := strconv.Atoi(string(m[1]))
	first, ferr := strconv.Atoi(string(m[2]))
	return first, first + count - 1, err == nil && ferr == nil && count > 0
}
