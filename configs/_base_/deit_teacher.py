# RegNetY-16GF with DeiT's weights, the teacher of DeiT's distillation.
deit_teacher = dict(type="TimmTeacher", model_name="regnety_160.deit_in1k", pretrained=True)
