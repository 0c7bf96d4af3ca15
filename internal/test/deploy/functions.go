package deploy

import (
	"strings"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	ctyyaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are Terraform's functions that the templates use. Most are in cty's library, where Terraform has them from.
func functions() map[string]function.Function {
	fs := map[string]function.Function{
		"try": tryfunc.TryFunc, "can": tryfunc.CanFunc,
		"merge": stdlib.MergeFunc, "concat": stdlib.ConcatFunc, "keys": stdlib.KeysFunc, "values": stdlib.ValuesFunc,
		"flatten": stdlib.FlattenFunc, "distinct": stdlib.DistinctFunc, "compact": stdlib.CompactFunc,
		"contains": stdlib.ContainsFunc, "coalesce": stdlib.CoalesceFunc, "setproduct": stdlib.SetProductFunc,
		"length": stdlib.LengthFunc, "range": stdlib.RangeFunc,
		"join": stdlib.JoinFunc, "lower": stdlib.LowerFunc, "regex": stdlib.RegexFunc, "indent": stdlib.IndentFunc,
		"max": stdlib.MaxFunc, "min": stdlib.MinFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc,
		"jsonencode": stdlib.JSONEncodeFunc, "yamlencode": ctyyaml.YAMLEncodeFunc,
		"tostring": stdlib.MakeToFunc(cty.String), "toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
	}
	fs["alltrue"] = simple(cty.Bool, func(args []cty.Value) (cty.Value, error) {
		for it := args[0].ElementIterator(); it.Next(); {
			if _, v := it.Element(); v.False() {
				return cty.False, nil
			}
		}
		return cty.True, nil
	}, cty.DynamicPseudoType)
	fs["strcontains"] = simple(cty.Bool, func(args []cty.Value) (cty.Value, error) {
		return cty.BoolVal(strings.Contains(args[0].AsString(), args[1].AsString())), nil
	}, cty.String, cty.String)
	// The invariants read user data, so it stays as it is.
	fs["base64gzip"] = simple(cty.String, func(args []cty.Value) (cty.Value, error) { return args[0], nil }, cty.String)
	return fs
}

func simple(result cty.Type, f func([]cty.Value) (cty.Value, error), params ...cty.Type) function.Function {
	s := &function.Spec{Type: function.StaticReturnType(result), Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f(args) }}
	for _, p := range params {
		s.Params = append(s.Params, function.Parameter{Name: "value", Type: p})
	}
	return function.New(s)
}
