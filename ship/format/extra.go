package format

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/spool/object"
)

// Extra holds a program's own formats and codecs, in addition to those of this package and of package compress. They are
// known only where the value is passed: ship.Options and audit.Options have a field for it. The zero value adds nothing.
//
// Every reader of the objects needs the same formats and codecs. Once used, a name must keep its meaning permanently: it is
// in stage records and manifests.
type Extra struct {
	Formats []*Format
	Codecs  []compress.Codec
}

var (
	nameOK = regexp.MustCompile(`^[a-z0-9_.-]{1,32}$`)
	extOK  = regexp.MustCompile(`^\.[a-z0-9]+$`)
)

// Check reports every mistake at once: a name or an ending that is taken or malformed, and a part that is missing.
func (x Extra) Check() error {
	var errs []error
	names, exts := map[string]bool{}, map[string]bool{}
	add := func(kind, name, ext string, own bool) {
		what := fmt.Sprintf("format: Extra: %s %q", kind, name)
		switch {
		case !own:
		case !nameOK.MatchString(name):
			errs = append(errs, fmt.Errorf("%s: a name has 1 to 32 of a-z, 0-9, _, . and -", what))
		case names[kind+name]:
			errs = append(errs, fmt.Errorf("%s: the name is taken", what))
		}
		switch {
		case !own:
		case !extOK.MatchString(ext):
			errs = append(errs, fmt.Errorf("%s: its ending %q is not a dot and some of a-z and 0-9", what, ext))
		case exts[ext]:
			errs = append(errs, fmt.Errorf("%s: its ending %q is taken", what, ext))
		}
		names[kind+name], exts[ext] = true, true
	}
	for _, f := range formats {
		add("format", f.Name, f.Ext, false)
	}
	for _, name := range compress.Names() {
		if c, err := compress.ByName(name); err == nil {
			add("codec", name, c.Info().Ext, false)
		}
	}
	for i, f := range x.Formats {
		if f == nil {
			errs = append(errs, fmt.Errorf("format: Extra.Formats[%d] is nil", i))
			continue
		}
		if f.Write == nil || f.Read == nil {
			errs = append(errs, fmt.Errorf("format: Extra: format %q needs Write and Read", f.Name))
		}
		add("format", f.Name, f.Ext, true)
	}
	for i, c := range x.Codecs {
		info, err := infoOf(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("format: Extra.Codecs[%d]: %w", i, err))
			continue
		}
		add("codec", info.Name, info.Ext, true)
	}
	return errors.Join(errs...)
}

// infoOf asks a codec for its description. It may be a nil pointer.
func infoOf(c compress.Codec) (info compress.Info, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%T cannot be used: %v", c, p)
		}
	}()
	return c.Info(), nil
}

// Format returns a format by its name. The error lists the known ones.
func (x Extra) Format(name string) (*Format, error) {
	for _, all := range [][]*Format{formats, x.Formats} {
		for _, f := range all {
			if f.Name == name {
				return f, nil
			}
		}
	}
	known := Names()
	for _, f := range x.Formats {
		known = append(known, f.Name)
	}
	return nil, fmt.Errorf("format: unknown format %q: use one of %s, or add it to format.Extra", name, strings.Join(known, ", "))
}

// Codec returns a codec by its name. The error lists the known ones.
func (x Extra) Codec(name string) (compress.Codec, error) {
	known := compress.Names()
	for _, c := range x.Codecs {
		if c.Info().Name == name {
			return c, nil
		}
		known = append(known, c.Info().Name)
	}
	c, err := compress.ByName(name)
	if err != nil {
		return nil, fmt.Errorf("format: unknown codec %q: use one of %s, or add it to format.Extra", name, strings.Join(known, ", "))
	}
	return c, nil
}

// ByKey returns the format and the codec of an object, by the ending of its key: ".ndjson.zst".
func (x Extra) ByKey(key string) (*Format, compress.Codec, error) {
	codecs := x.Codecs[:len(x.Codecs):len(x.Codecs)]
	for _, name := range compress.Names() {
		c, err := compress.ByName(name)
		if err != nil {
			return nil, nil, err
		}
		codecs = append(codecs, c)
	}
	var codec compress.Codec
	plain := key
	for _, c := range codecs {
		if e := c.Info().Ext; e == "" && codec == nil || e != "" && strings.HasSuffix(key, e) {
			codec, plain = c, strings.TrimSuffix(key, e)
		}
	}
	for _, all := range [][]*Format{formats, x.Formats} {
		for _, f := range all {
			if strings.HasSuffix(plain, f.Ext) {
				return f, codec, nil
			}
		}
	}
	return nil, nil, fmt.Errorf("format: the ending of %q names no format", key)
}

// ContentType returns the Content-Type of objects of an encoding, "" for one that is not known.
//
// A compressed object has the codec's Content-Type and never a Content-Encoding. With one, browsers and HTTP libraries would
// return other bytes than the store holds, with another size and checksum, while Athena and similar tools go by the key's
// ending and would try to decompress them a second time.
func (x Extra) ContentType(e object.Encoding) string {
	f, err := x.Format(e.Format)
	codec, cerr := x.Codec(e.Codec)
	switch {
	case err != nil || cerr != nil:
		return ""
	case codec.Info().ContentType != "":
		return codec.Info().ContentType
	}
	return f.ContentType
}

// resolve checks an encoding and fills in the defaults; every mistake is reported.
func (x Extra) resolve(e *object.Encoding) (*Format, compress.Codec, error) {
	if e.Format == "" {
		e.Format = formats[0].Name
	}
	f, ferr := x.Format(e.Format)
	if e.Codec == "" {
		e.Codec = compress.Names()[0]
	}
	codec, err := x.Codec(e.Codec)
	if err == nil {
		e.Level, err = codec.Info().Level(e.Level)
	}
	return f, codec, errors.Join(ferr, err)
}

// Names lists this package's formats, the default first.
func Names() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return names
}

// ByName is Extra.Format for this package's formats.
func ByName(name string) (*Format, error) { return Extra{}.Format(name) }

// ByKey is Extra.ByKey for this package's formats and the codecs of package compress.
func ByKey(key string) (*Format, compress.Codec, error) { return Extra{}.ByKey(key) }
