// Package deploy checks the templates of examples/deploy without a cloud. It parses them with the libraries that their tools use,
// computes what a Terraform configuration asks for, and holds invariants against it. For each invariant there is a mutation of a
// template: a test applies it and demands that the invariant notices.
//
// tree.go holds the templates, hcl.go, plan.go and resource.go evaluate Terraform, functions.go has its functions. The cfn files make
// the CloudFormation template. The invariants are in the tests, one file for each kind of template. provider-names.txt lists the
// arguments of the AWS provider's resources; provider-names.mjs makes it.
package deploy
