# Four roles: servers receive and deliver, the adopter delivers volumes that instances have left, the auditor only reads, and the
# reaper attaches such volumes and deletes those that are proven to be delivered.
locals {
  objects    = "${aws_s3_bucket.this.arn}/${var.delivery.prefix}/*"
  kms_keys   = compact([var.delivery.kms_key_arn])
  secretsmgr = [for a in values(var.secrets) : a if strcontains(a, ":secretsmanager:")]
  parameters = [for a in values(var.secrets) : a if strcontains(a, ":ssm:")]
  ec2        = "arn:${local.partition}:ec2:${local.region}:${local.account}"

  trust_ec2 = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })

  # What a destination must allow, as the documentation of package s3ship lists it.
  deliver = concat([
    {
      Sid      = "Objects"
      Effect   = "Allow"
      Action   = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]
      Resource = [local.objects]
    },
    {
      # Without s3:ListBucket an object that is absent is answered with 403, as if it were forbidden. A condition on s3:prefix has the
      # same effect, since requests for one object have no prefix.
      Sid      = "Bucket"
      Effect   = "Allow"
      Action   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
      Resource = [aws_s3_bucket.this.arn]
    },
    ], [for key in local.kms_keys : {
      Sid      = "Encrypt"
      Effect   = "Allow"
      Action   = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource = [key]
  }])

  audit = concat([
    {
      Sid      = "Read"
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = [local.objects]
    },
    {
      Sid      = "List"
      Effect   = "Allow"
      Action   = ["s3:ListBucket"]
      Resource = [aws_s3_bucket.this.arn]
    },
    ], [for key in local.kms_keys : {
      Sid      = "Decrypt"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = [key]
  }])

  read_secrets = concat(
    length(local.secretsmgr) == 0 ? [] : [
      { Sid = "Secrets", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = local.secretsmgr },
    ],
    length(local.parameters) == 0 ? [] : [
      { Sid = "Parameters", Effect = "Allow", Action = ["ssm:GetParameter"], Resource = local.parameters },
    ],
  )

  observe = [
    {
      # The agent sends the metrics that it scrapes as log events.
      Sid      = "Embedded"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      Resource = ["${aws_cloudwatch_log_group.metrics.arn}:*"]
    },
  ]

  reap = concat([
    {
      Sid      = "Look"
      Effect   = "Allow"
      Action   = ["ec2:DescribeVolumes"]
      Resource = ["*"]
    },
    {
      Sid       = "FleetVolumes"
      Effect    = "Allow"
      Action    = ["ec2:AttachVolume", "ec2:DetachVolume"]
      Resource  = ["${local.ec2}:volume/*"]
      Condition = { StringEquals = { "aws:ResourceTag/penstock:fleet" = var.name } }
    },
    {
      # To its own instance only: the user id of an instance's credentials ends in the id of the instance.
      Sid      = "OwnInstance"
      Effect   = "Allow"
      Action   = ["ec2:AttachVolume", "ec2:DetachVolume"]
      Resource = ["${local.ec2}:instance/*"]
      Condition = {
        StringEquals = { "aws:ResourceTag/penstock:fleet" = var.name }
        StringLike   = { "aws:userid" = "*:$${ec2:InstanceID}" }
      }
    },
    {
      Sid      = "Note"
      Effect   = "Allow"
      Action   = ["ec2:CreateTags"]
      Resource = ["${local.ec2}:volume/*"]
      Condition = {
        StringEquals                = { "aws:ResourceTag/penstock:fleet" = var.name }
        "ForAllValues:StringEquals" = { "aws:TagKeys" = ["penstock:state", "penstock:reason", "penstock:since"] }
      }
    },
    {
      # Only what a proof has marked. EC2 itself refuses to delete a volume that is attached.
      Sid      = "Delete"
      Effect   = "Allow"
      Action   = ["ec2:DeleteVolume"]
      Resource = ["${local.ec2}:volume/*"]
      Condition = {
        StringEquals = { "aws:ResourceTag/penstock:fleet" = var.name, "aws:ResourceTag/penstock:state" = "delivered" }
      }
    },
    ], [for key in local.kms_keys : {
      # EC2 decrypts an attached volume by a grant that it makes in the name of whoever attaches it.
      Sid       = "Grant"
      Effect    = "Allow"
      Action    = ["kms:CreateGrant"]
      Resource  = [key]
      Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
  }])

  lifecycle = {
    for k, g in var.groups : k => [
      {
        Sid    = "Hook"
        Effect = "Allow"
        Action = [
          "autoscaling:RecordLifecycleActionHeartbeat", "autoscaling:CompleteLifecycleAction", "autoscaling:SetInstanceProtection",
        ]
        Resource = ["arn:${local.partition}:autoscaling:${local.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${var.name}-${k}"]
      },
      {
        # These have no resources.
        Sid    = "Group"
        Effect = "Allow"
        Action = [
          "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeLifecycleHooks",
        ]
        Resource = ["*"]
      },
    ]
  }

  package = var.software.package == null ? [] : [{
    Sid      = "Package"
    Effect   = "Allow"
    Action   = ["s3:GetObject"]
    Resource = ["arn:${local.partition}:s3:::${var.software.package.bucket}/${var.software.package.key}"]
  }]
}

resource "aws_iam_role" "server" {
  for_each = var.groups

  name               = "${var.name}-${each.key}-server"
  assume_role_policy = local.trust_ec2
  tags               = local.tags
}

resource "aws_iam_policy" "server" {
  for_each = var.groups

  name = "${var.name}-${each.key}-server"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.deliver, local.read_secrets, local.observe, local.package, local.lifecycle[each.key])
  })
  tags = local.tags
}

resource "aws_iam_role_policy_attachment" "server" {
  for_each = var.groups

  role       = aws_iam_role.server[each.key].name
  policy_arn = aws_iam_policy.server[each.key].arn
}

resource "aws_iam_instance_profile" "server" {
  for_each = var.groups

  name = "${var.name}-${each.key}-server"
  role = aws_iam_role.server[each.key].name
  tags = local.tags
}

resource "aws_iam_policy" "reaper" {
  name   = "${var.name}-reaper"
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.reap, local.audit) })
  tags   = local.tags
}

resource "aws_iam_role" "reaper" {
  name               = "${var.name}-reaper"
  assume_role_policy = local.trust_ec2
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "reaper" {
  role       = aws_iam_role.reaper.name
  policy_arn = aws_iam_policy.reaper.arn
}

# On the servers themselves the reaper has the credentials of its instance.
resource "aws_iam_role_policy_attachment" "server_reaper" {
  for_each = var.reaper ? var.groups : {}

  role       = aws_iam_role.server[each.key].name
  policy_arn = aws_iam_policy.reaper.arn
}

resource "aws_iam_role" "adopter" {
  name               = "${var.name}-adopter"
  assume_role_policy = local.trust_ec2
  tags               = local.tags
}

resource "aws_iam_role_policy" "adopter" {
  name   = "deliver"
  role   = aws_iam_role.adopter.name
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.deliver, local.read_secrets, local.observe, local.package) })
}

resource "aws_iam_instance_profile" "adopter" {
  name = "${var.name}-adopter"
  role = aws_iam_role.adopter.name
  tags = local.tags
}

resource "aws_iam_role" "auditor" {
  name               = "${var.name}-auditor"
  assume_role_policy = local.trust_ec2
  tags               = local.tags
}

resource "aws_iam_role_policy" "auditor" {
  name   = "read"
  role   = aws_iam_role.auditor.name
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.audit, local.read_secrets) })
}

resource "aws_iam_instance_profile" "auditor" {
  name = "${var.name}-auditor"
  role = aws_iam_role.auditor.name
  tags = local.tags
}
