package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logKeys are the keys of all log lines, each with its meaning, so that a key means the same in every line. Before you add a
// key, look for an existing one with the same meaning.
var logKeys = map[string]string{
	"addr":                 "address of a socket",
	"adopter":              "instance that has adopted the spool",
	"adopting":             "directory of a spool that is being adopted",
	"again_in":             "time until the next attempt",
	"and":                  "the other of two segments",
	"answer":               "of a lifecycle hook",
	"applied":              "settings that a reload has applied",
	"apply":                "whether a reaper does what it says",
	"asked":                "what was requested of the system",
	"at_least":             "lower bound of what is lost",
	"at_most":              "upper bound of what is lost",
	"at_most_bytes_more":   "upper bound of what may be lost beyond the number given",
	"at_most_records_more": "the same in records",
	"backlog":              "records and bytes that are pending",
	"bandwidth_in":         "packets that an ENA has dropped at this allowance",
	"began":                "time at which something began",
	"by":                   "by how much a clock is off",
	"bytes":                "payload",
	"bytes_lost":           "payload",
	"call":                 "system call",
	"class":                "class of traffic",
	"classes":              "their number",
	"code":                 "of a finding",
	"codec":                "of an object",
	"connections":          "TCP connections, the most or at present",
	"conntrack":            "packets that an ENA has dropped at this allowance",
	"damaged":              "records",
	"degraded":             "guarantees that a destination does not give",
	"delivered":            "records",
	"descriptors":          "file descriptors of the process",
	"destination":          "name of a destination",
	"destinations":         "their number, or their names",
	"detail":               "of a finding",
	"device":               "block device, as EC2 names it",
	"dir":                  "directory",
	"disk_free":            "bytes",
	"do":                   "what to do",
	"dual_stack":           "an AWS setting",
	"elsewhere":            "destinations that have, or will have, what is given up at another",
	"endpoint":             "of a store",
	"engine":               "of a relay, nft or user",
	"epoch":                "of a chain",
	"err":                  "what went wrong, with its cause",
	"eta":                  "time until it is done, at the present rate",
	"expected":             "what should be in a place",
	"expected_rate":        "of datagrams",
	"failing_for":          "time since the first failure",
	"failures":             "attempts that have failed",
	"file":                 "name of one",
	"file_system":          "its size",
	"files":                "names or number",
	"filtered":             "records",
	"findings":             "their number",
	"fips":                 "an AWS setting",
	"first":                "sequence number",
	"fleet":                "value of the tag penstock:fleet",
	"for":                  "how long it has lasted",
	"found":                "when damage was found",
	"from":                 "where something begins",
	"full_in":              "time until the spool is full at the present rate; 0 if it is",
	"gaps":                 "ranges of missing sequence numbers",
	"given_up":             "damage whose loss an operator has acknowledged",
	"gives_up":             "records and bytes",
	"granted":              "what the system gave of what was asked",
	"holds_datagrams":      "how many fit into a receive buffer",
	"hour":                 "that an audit judges, in UTC",
	"idle":                 "how long nothing has moved",
	"in_common_up_to":      "sequence number up to which two owners have the same records",
	"in_frame":             "bytes of an unfinished frame",
	"in_memory_only":       "records",
	"instance":             "name of a host",
	"instead":              "key of the object in place of another",
	"intent":               "of the end, stop or drain",
	"interface":            "of the network",
	"is":                   "new value",
	"kept":                 "records",
	"key":                  "of an object",
	"known":                "names that exist",
	"last":                 "sequence number",
	"left":                 "what remains: a number of leftovers, or a time",
	"link":                 "symbolic link",
	"listener":             "name of one",
	"location":             "where a destination is, without secrets",
	"lost":                 "records, by cause where there are several",
	"lost_to":              "cause of a loss",
	"made":                 "records that an embedder made on purpose",
	"manifest":             "its number",
	"max_conns":            "limit of connections",
	"mode":                 "of a file",
	"msg":                  "what another program says",
	"name":                 "of an instance or a spool that is expected",
	"named_up_to":          "last sequence number that is known",
	"network":              "kind of a socket, udp or tcp",
	"next":                 "sequence number",
	"now":                  "corrected value",
	"objects":              "their number",
	"oldest_age":           "age of the oldest pending record",
	"on":                   "whether protection is on",
	"operation":            "what is done at a destination",
	"outcome":              "of a drain",
	"packet_rate":          "packets that an ENA has dropped at this allowance",
	"page":                 "address of a page",
	"panic":                "of foreign code",
	"part_size":            "of uploads in parts",
	"path":                 "of a unix socket",
	"peer":                 "another destination",
	"pending":              "records, by destination",
	"pending_bytes":        "payload",
	"phase":                "of a drain",
	"pid":                  "process",
	"proof":                "why a volume was deleted",
	"proxy":                "address of one",
	"quiet_for":            "time without a record",
	"quota":                "of a spool",
	"quotas":               "of several spools, together",
	"ranges":               "of sequence numbers",
	"receive_buffer":       "its size",
	"received":             "records",
	"recommendation":       "of EC2",
	"records":              "their number",
	"records_at_most":      "upper bound of their number",
	"refused":              "system calls, or settings that a reload could not apply",
	"repeated":             "how many equal lines there were since the first of them, this one included",
	"requests":             "of an upload",
	"reserve":              "room for staging",
	"restored":             "objects",
	"round_trips":          "of an upload",
	"segment":              "its number",
	"segments":             "their number",
	"signal":               "of the operating system",
	"since":                "time of the first of several",
	"sink":                 "name of one",
	"size":                 "in bytes",
	"sockets":              "their number",
	"spool":                "id of a spool",
	"src":                  "sender",
	"stack":                "of a panic",
	"state":                "of an instance",
	"through":              "last sequence number",
	"tls":                  "whether a listener uses it",
	"to":                   "where something ends",
	"took":                 "time that something took",
	"total":                "since the start",
	"trigger":              "of an end",
	"type":                 "of a file system",
	"unaccounted":          "records that a kill may have cost",
	"uploads":              "in parts",
	"url":                  "of a listener, without secrets",
	"used":                 "bytes",
	"verdict":              "of an audit",
	"verified":             "objects",
	"version":              "of the program",
	"volume":               "id of an EBS volume",
	"waited":               "time",
	"waiting":              "callers that wait for room",
	"warning":              "what others could do",
	"was":                  "old value",
	"why":                  "the reason",
}

// logMethods write a line, or make a Logger for several lines. The value is the index of the first key.
var logMethods = map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3, "With": 0, "logAgain": 2, "warn": 1, "panicked": 2, "line": 3}

// TestLogKeys: every key of a log line is in the table, and every key of the table is used.
func TestLogKeys(t *testing.T) {
	used := map[string]string{}
	goFiles(t, func(rel string, src []byte) {
		if strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "internal/") && !strings.HasPrefix(rel, "internal/steadylog") {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, rel, src, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			for _, key := range keysOf(n) {
				if name, err := strconv.Unquote(key.Value); err == nil {
					used[name] = fmt.Sprintf("%s: %s", fset.Position(key.Pos()), name)
				}
			}
			return true
		})
	})
	for _, key := range slices.Sorted(maps.Keys(used)) {
		if logKeys[key] == "" {
			t.Errorf("%s is no key of the table of log keys: use one that is there, or add it with its meaning", used[key])
		}
	}
	for key := range logKeys {
		if used[key] == "" {
			t.Errorf("no log line has the key %q: remove it from the table", key)
		}
	}
}

// TestLogLines: a warning or an error says not only what has happened, but also what that means or what to do. So the text of
// such a line has a second part, after a colon, a semicolon or a comma.
func TestLogLines(t *testing.T) {
	goFiles(t, func(rel string, src []byte) {
		if strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "internal/") {
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, rel, src, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			fun, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Warn", "Error", "warn", "logAgain"}, fun.Sel.Name) || !strings.Contains(strings.ToLower(lastName(fun.X)+fun.Sel.Name), "log") {
				return true
			}
			text, whole := messageOf(call.Args)
			if whole && !says(call.Args, "do") && !strings.ContainsAny(packagePrefix.ReplaceAllString(text, ""), ":;,") {
				t.Errorf("%s: %q does not say what it means, and what to do", fset.Position(call.Pos()), text)
			}
			return true
		})
	})
}

// says reports whether a line has a key.
func says(args []ast.Expr, key string) bool {
	return slices.ContainsFunc(args, func(e ast.Expr) bool {
		lit, ok := e.(*ast.BasicLit)
		return ok && lit.Value == strconv.Quote(key)
	})
}

// packagePrefix is the name of the package with which a line begins.
var packagePrefix = regexp.MustCompile(`^[a-z0-9]+: `)

// messageOf returns the text of a line; whole is false if parts of it are not literals.
func messageOf(args []ast.Expr) (text string, whole bool) {
	whole = true
	var add func(ast.Expr)
	add = func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, err := strconv.Unquote(e.Value)
			text, whole = text+s, whole && err == nil
		case *ast.BinaryExpr:
			add(e.X)
			add(e.Y)
		default:
			whole = false
		}
	}
	for _, a := range args {
		if _, selector := a.(*ast.SelectorExpr); !selector { // a level
			add(a)
			break
		}
	}
	return text, whole
}

// keysOf returns the keys in a call that logs, and in a list of attributes (args or attrs) for such a call.
func keysOf(n ast.Node) (keys []*ast.BasicLit) {
	switch n := n.(type) {
	case *ast.CallExpr:
		switch fun := n.Fun.(type) {
		case *ast.SelectorExpr:
			first, logs := logMethods[fun.Sel.Name]
			if recv := strings.ToLower(lastName(fun.X)); !logs || len(n.Args) <= first ||
				!strings.HasSuffix(recv, "log") && !strings.HasSuffix(recv, "logger") && first != 2 && recv != "l" && recv != "s" && recv != "j" {
				break
			}
			return everySecond(n.Args[first:])
		case *ast.Ident:
			if fun.Name != "append" || len(n.Args) < 2 || !isAttrs(n.Args[0]) {
				break
			}
			if list, ok := n.Args[0].(*ast.CompositeLit); ok {
				keys = everySecond(list.Elts)
			}
			return append(keys, everySecond(n.Args[1:])...)
		}
	case *ast.AssignStmt:
		for i, right := range n.Rhs {
			if list, ok := right.(*ast.CompositeLit); ok && i < len(n.Lhs) && isAttrs(n.Lhs[i]) {
				keys = append(keys, everySecond(list.Elts)...)
			}
		}
	}
	return keys
}

// lastName returns the last name of an expression: Logger for b.o.Logger.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		return lastName(e.Fun)
	}
	return ""
}

// isAttrs reports whether an expression is a list of attributes: a variable of that name, or a literal []any.
func isAttrs(e ast.Expr) bool {
	if list, ok := e.(*ast.CompositeLit); ok {
		a, ok := list.Type.(*ast.ArrayType)
		return ok && typeName(a.Elt) == "any"
	}
	return typeName(e) == "args" || typeName(e) == "attrs"
}

// everySecond returns the literals in the places of keys.
func everySecond(list []ast.Expr) (keys []*ast.BasicLit) {
	for i := 0; i < len(list); i++ {
		lit, ok := list[i].(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			continue // an slog.Attr, or a list that is spread
		}
		keys = append(keys, lit)
		i++ // its value
	}
	return keys
}
