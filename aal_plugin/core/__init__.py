"""The method in plain torch: student's attention, teacher's activations, links, losses and λ."""

from .linked_student import LinkedStudent
from .losses.link_ranges import link_ranges
from .losses.links import AttentionLinks, link_distance, mean_link_distance
from .losses.resize import resize_maps
from .losses.schedule import check_schedule, link_weight, paper_course
from .student.attention_recorder import AttentionRecorder
from .student.feature_recorder import FeatureRecorder
from .student.maps import class_token_attention, qkv_class_token_attention
from .student_losses import AttentionLinkLoss
from .teacher.frozen_teacher import FrozenTeacher
from .teacher.kept_maps import KeptMaps
from .teacher.kept_teacher import KeptTeacher, kept_shapes
from .teacher.timm_teacher import TimmTeacher
from .teacher.unregistered import Unregistered

__all__ = [
    "AttentionLinkLoss",
    "AttentionLinks",
    "AttentionRecorder",
    "FeatureRecorder",
    "FrozenTeacher",
    "KeptMaps",
    "KeptTeacher",
    "LinkedStudent",
    "TimmTeacher",
    "Unregistered",
    "check_schedule",
    "class_token_attention",
    "kept_shapes",
    "link_distance",
    "link_ranges",
    "link_weight",
    "mean_link_distance",
    "paper_course",
    "qkv_class_token_attention",
    "resize_maps",
]
